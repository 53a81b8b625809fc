// Kernels for x86-64 with AVX2 or AVX-512: the loops around a formula.
//
// What does not change inside a loop is loaded before it, as long as registers last. A column's accumulators stay in
// registers over the rows of a call, a run's over the run. Elements beyond the last whole pack go through the same code
// with the others masked out.
#include <ebb/engine/codegen/kernel.h>

#ifdef EBB_HAS_ASMJIT
#include <ebb/engine/codegen/x86/values.h>

#include <xmmintrin.h>

#include <algorithm>

namespace ebb::codegen {
namespace {

using namespace asmjit;

std::int32_t at(std::size_t array, std::size_t index) { return static_cast<std::int32_t>(array + 8 * index); }

class Walks : Values {
 public:
  Walks(CodeHolder& code, const KernelSpec& spec, bool wide) : Values(code, spec, wide) {}

  bool run() {
    FuncNode* const function = cc_.addFunc(FuncSignatureT<void, const Piece*>(CallConvId::kHost));
    function->frame().setAvxEnabled();
    if (wide_) function->frame().setAvx512Enabled();
    function->frame().setAvxCleanup();
    call_ = cc_.newIntPtr();
    function->setArg(0, call_);
    n_ = field(offsetof(Piece, n));
    for (std::size_t k = 0; k < spec_.inputs.size(); ++k) in_.push_back(field(at(offsetof(Piece, in), k)));
    for (std::size_t k = 0; k < spec_.outputs.size(); ++k) out_.push_back(field(at(offsetof(Piece, out), k)));
    for (std::size_t k = 0; k < spec_.accumulators.size(); ++k) {
      kept_.push_back(field(at(offsetof(Piece, accumulators), k)));
    }
    begin_packs();
    single_.resize(spec_.inputs.size());
    for (std::size_t k = 0; k < spec_.inputs.size(); ++k) {
      if (!spec_.inputs[k].moves && !spec_.inputs[k].per_row && may_hold()) single_[k] = single(k, in_[k]);
    }
    if (spec_.walk == KernelSpec::Walk::columns) {
      columns();
    } else {
      rows();
    }
    cc_.ret();
    cc_.endFunc();
    return cc_.finalize() == kErrorOk;
  }

 private:
  Gp field(std::size_t offset) {
    const Gp reg = cc_.newIntPtr();
    cc_.mov(reg, x86::ptr(call_, static_cast<std::int32_t>(offset)));
    return reg;
  }
  Mem in_step(std::size_t k) const { return x86::ptr(call_, at(offsetof(Piece, in_step), k), 8); }

  // Packs side by side hide the waits of short formulas; a long one has enough to do by itself.
  bool worth_copies(int copies) const { return static_cast<std::size_t>(copies) * spec_.formula.size() <= 160; }

  // --- rows and runs -------------------------------------------------------------------------------------------------

  // Some rows side by side, so that one's sums do not wait for the additions before them; the rest of them one by one.
  void rows() {
    const bool runs = spec_.walk == KernelSpec::Walk::runs;
    // A run's accumulators are kPartials wide: its steps are as many elements.
    units_ = runs ? static_cast<int>(kPartials) / width_ : 1;
    const int free = (wide_ ? 26 : 11) - held_;
    int each = static_cast<int>(spec_.accumulators.size()) * units_;
    for (const auto& input : spec_.inputs) each += !input.moves && input.per_row ? 1 : 0;
    int beside = !runs ? 1 : units_ == 1 ? 4 : units_ == 2 ? 2 : 1;
    while (beside > 1 && (beside * each > free || !worth_copies(beside))) beside /= 2;
    const Gp begin = cc_.newIntPtr();
    cc_.xor_(begin.r32(), begin.r32());
    row_in_ = in_;
    const Gp left = field(offsetof(Piece, rows));
    const Gp end = whole(n_, units_ * width_);
    const Gp over = rest(n_, units_ * width_);
    Vec tail;
    if (!runs) tail = lanes(over, false, 0);
    for (int count = beside;; count = 1) {
      const Label top = cc_.newLabel(), done = cc_.newLabel();
      cc_.bind(top);
      cc_.cmp(left, count);
      cc_.jl(done);
      few_rows(count, beside, begin, end, over, tail);
      cc_.sub(left, count);
      cc_.jmp(top);
      cc_.bind(done);
      if (count == 1) break;
    }
  }

  void few_rows(int count, int most, const Gp& begin, const Gp& end, const Gp& over, const Vec& tail) {
    const bool runs = spec_.walk == KernelSpec::Walk::runs;
    const Gp along = cc_.newIntPtr();
    cc_.xor_(along.r32(), along.r32());
    std::vector<Gp> across;
    for (int row = 0; row < count; ++row) {
      across.push_back(copy(begin));
      cc_.add(begin, x86::ptr(call_, static_cast<std::int32_t>(offsetof(Piece, full_step)), 8));
    }
    of_row_.assign(spec_.inputs.size(), {});
    for (std::size_t k = 0; k < spec_.inputs.size(); ++k) {
      if (spec_.inputs[k].moves || !spec_.inputs[k].per_row) continue;
      for (int row = 0; row < count; ++row) {
        of_row_[k].push_back(single(k, row_in_[k]));
        cc_.add(row_in_[k], in_step(k));
      }
    }
    make_accumulators(accumulator_of(count, 0));
    const auto place = [&](int row, int unit) {
      const std::size_t r = static_cast<std::size_t>(row);
      return Place{along,
                   across[r],
                   unit * width_,
                   r * static_cast<std::size_t>(units_) + static_cast<std::size_t>(unit % units_),
                   r,
                   nullptr,
                   nullptr,
                   true};
    };
    if (runs) begin_runs(count, place);
    const auto advance = [&](int packs) {
      for (const Gp& of : across) cc_.add(of, packs * width_);
    };
    int unrolled = most > 1 ? 4 / most : 4 / units_;
    while (unrolled > 1 && !worth_copies(most * unrolled)) unrolled /= 2;
    const auto step = [&](int units) {
      for (int u = 0; u < units * units_; ++u) {
        for (int row = 0; row < count; ++row) one(place(row, u));
      }
      advance(units * units_);
    };
    if (unrolled > 1) {
      const Gp end_unrolled = whole(n_, units_ * width_ * unrolled);
      loop(along, end_unrolled, unrolled * units_ * width_, [&] { step(unrolled); });
    }
    loop(along, end, units_ * width_, [&] { step(1); });
    const Label done = cc_.newLabel();
    cc_.test(over, over);
    cc_.jz(done);
    if (runs) {
      end_of_runs(count, along, across, over);
    } else {
      Place last = place(0, 0);
      last.loads = &tail;
      one(last);
    }
    cc_.bind(done);
    if (runs) {
      move_accumulators(nullptr, true);
      for (const Gp& pointer : kept_) cc_.add(pointer, count * static_cast<int>(kPartials) * size_);
    }
  }

  template <class PlaceOf>
  void begin_runs(int count, PlaceOf&& place_of) {
    const Label go_on = cc_.newLabel(), ready = cc_.newLabel();
    cc_.cmp(x86::ptr(call_, static_cast<std::int32_t>(offsetof(Piece, fresh)), 8), 0);
    cc_.jz(go_on);
    const Gp lane = cc_.newIntPtr();
    cc_.mov(lane, 1);
    const Vec first = lanes(lane, false, 0);
    for (int row = 0; row < count; ++row) {
      forget();
      Place place = place_of(row, 0);
      place.loads = &first;
      for (std::size_t k = 0; k < accumulator_.size(); ++k) {
        const Id id = spec_.accumulators[k].first;
        const x86::Vec from = value(id, place).pack;
        for (int u = 0; u < units_; ++u) {
          const x86::Vec& to = accumulator_[k][accumulator_of(row, u)];
          if (spec_.formula[id].op == Op::literal) {
            put(Inst::kIdVmovaps, Inst::kIdVmovapd, to, from);
          } else {
            put(Inst::kIdVbroadcastss, Inst::kIdVbroadcastsd, to, from.xmm());
          }
        }
      }
    }
    cc_.jmp(ready);
    cc_.bind(go_on);
    move_accumulators(nullptr, false);
    cc_.bind(ready);
  }

  // The last elements of runs: a run's last kPartials again, in which those that were taken do not count; or, of one
  // that is shorter, as many as there are.
  void end_of_runs(int count, const Gp& along, const std::vector<Gp>& across, const Gp& over) {
    const Label few = cc_.newLabel(), done = cc_.newLabel();
    const auto pieces = [&](const Gp& at, const std::vector<Gp>& rows, bool last) {
      for (int u = 0; u < units_; ++u) {
        const Vec there = lanes(over, last, u * width_);
        for (int row = 0; row < count; ++row) {
          const std::size_t r = static_cast<std::size_t>(row);
          one({at, rows[r], u * width_, accumulator_of(row, u), r, last ? nullptr : &there, &there, true});
        }
      }
    };
    cc_.cmp(n_, static_cast<int>(kPartials));
    cc_.jl(few);
    const Gp back = copy(over);
    cc_.sub(back, static_cast<int>(kPartials));
    const auto before = [&](const Gp& at) {
      const Gp to = copy(at);
      cc_.add(to, back);
      return to;
    };
    std::vector<Gp> rows;
    rows.reserve(across.size());
    for (const Gp& at : across) rows.push_back(before(at));
    pieces(before(along), rows, true);
    cc_.jmp(done);
    cc_.bind(few);
    pieces(along, across, false);
    cc_.bind(done);
  }

  // Loads or stores all accumulators.
  void move_accumulators(const Gp* along, bool out) {
    for (std::size_t k = 0; k < accumulator_.size(); ++k) {
      for (std::size_t u = 0; u < accumulator_[k].size(); ++u) {
        const int unit = static_cast<int>(u);
        const Mem memory = along ? element(kept_[k], *along, unit * width_) : x86::ptr(kept_[k], unit * bytes_);
        out ? store(memory, accumulator_[k][u], nullptr, false) : load(accumulator_[k][u], memory, nullptr);
      }
    }
  }

  // --- columns -------------------------------------------------------------------------------------------------------

  void columns() {
    std::size_t of_columns = 0;
    for (std::size_t k = 0; k < spec_.inputs.size(); ++k) of_columns += is_column(k) ? 1 : 0;
    const std::size_t free = static_cast<std::size_t>((wide_ ? 32 : 16) - 5 - held_);
    const std::size_t each = spec_.accumulators.size() + of_columns;
    std::size_t tile = wide_ ? 4 : 2;
    while (tile > 1 && (tile * each > free || !worth_copies(static_cast<int>(tile)))) tile /= 2;
    const bool hold_columns = tile * each <= free;

    const Gp along = cc_.newIntPtr();
    cc_.xor_(along.r32(), along.r32());
    const Gp end_tile = whole(n_, static_cast<int>(tile) * width_);
    const Gp end = whole(n_, width_);
    const Gp over = rest(n_, width_);
    const Vec tail = lanes(over, false, 0);
    loop(along, end_tile, static_cast<int>(tile) * width_, [&] { columns_tile(along, tile, nullptr, hold_columns); });
    if (tile > 1) loop(along, end, width_, [&] { columns_tile(along, 1, nullptr, hold_columns); });
    const Label done = cc_.newLabel();
    cc_.test(over, over);
    cc_.jz(done);
    columns_tile(along, 1, &tail, hold_columns);
    cc_.bind(done);
  }

  void columns_tile(const Gp& along, std::size_t tile, const Vec* tail, bool hold) {
    make_accumulators(tile);
    column_.assign(spec_.inputs.size(), {});
    for (std::size_t k = 0; hold && k < spec_.inputs.size(); ++k) {
      if (!is_column(k)) continue;
      for (std::size_t u = 0; u < tile; ++u) {
        column_[k].push_back(several(k, along, static_cast<int>(u) * width_, tail));
      }
    }
    const auto place = [&](const Gp& across, std::size_t u) {
      return Place{along, across, static_cast<int>(u) * width_, u, 0, tail, nullptr, true};
    };
    const Label go_on = cc_.newLabel(), ready = cc_.newLabel();
    cc_.cmp(x86::ptr(call_, static_cast<std::int32_t>(offsetof(Piece, fresh)), 8), 0);
    cc_.jz(go_on);
    for (std::size_t u = 0; u < tile; ++u) {
      forget();
      for (std::size_t k = 0; k < accumulator_.size(); ++k) {
        put(Inst::kIdVmovaps, Inst::kIdVmovapd, accumulator_[k][u],
            value(spec_.accumulators[k].first, place(along, u)).pack);
      }
    }
    cc_.jmp(ready);
    cc_.bind(go_on);
    move_accumulators(&along, false);
    cc_.bind(ready);

    const Gp across = copy(along);
    row_in_.assign(in_.size(), Gp());
    for (std::size_t k = 0; k < in_.size(); ++k) {
      if (!spec_.inputs[k].moves) row_in_[k] = spec_.inputs[k].per_row ? copy(in_[k]) : in_[k];
    }
    const Gp left = field(offsetof(Piece, rows));
    const Label top = cc_.newLabel();
    cc_.bind(top);
    std::vector<std::size_t> of_row;
    for (std::size_t k = 0; k < in_.size(); ++k) {
      if (spec_.inputs[k].moves || single_[k] || tile == 1) continue;
      single_[k] = single(k, row_in_[k]);
      of_row.push_back(k);
    }
    for (std::size_t u = 0; u < tile; ++u) one(place(across, u));
    for (const std::size_t k : of_row) single_[k].reset();
    cc_.add(across, x86::ptr(call_, static_cast<std::int32_t>(offsetof(Piece, full_step)), 8));
    for (std::size_t k = 0; k < in_.size(); ++k) {
      if (!spec_.inputs[k].moves && spec_.inputs[k].per_row) cc_.add(row_in_[k], in_step(k));
    }
    cc_.dec(left);
    cc_.jnz(top);
    row_in_.clear();
    move_accumulators(&along, true);
  }

  Gp call_, n_;
  std::vector<Gp> kept_;
};

class Generated : public Kernel {
 public:
  static std::unique_ptr<Kernel> make(const KernelSpec& spec, bool wide) {
    CodeHolder code;
    if (code.init(runtime().environment()) != kErrorOk) return nullptr;
    if (!Walks(code, spec, wide).run()) return nullptr;
    auto kernel = std::make_unique<Generated>();
    if (runtime().add(&kernel->entry_, &code) != kErrorOk) return nullptr;
    return kernel;
  }
  ~Generated() override {
    if (entry_) runtime().release(entry_);
  }

 private:
  static JitRuntime& runtime() {
    static JitRuntime runtime;
    return runtime;
  }
};

}  // namespace

void finish_streams() { _mm_sfence(); }

bool available() { return active_isa() != Isa::base; }

std::unique_ptr<Kernel> generate(const KernelSpec& spec) {
  return available() ? Generated::make(spec, active_isa() == Isa::avx512) : nullptr;
}

}  // namespace ebb::codegen

#else

namespace ebb::codegen {

void finish_streams() {}
bool available() { return false; }
std::unique_ptr<Kernel> generate(const KernelSpec&) { return nullptr; }

}  // namespace ebb::codegen

#endif
