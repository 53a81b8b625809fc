// Kernels for x86-64 with AVX2 or AVX-512, by AsmJit, which encodes instructions and deals out registers.
//
// What does not change inside a loop is loaded before it, as long as registers last. A column's accumulators stay in
// registers over the rows of a call, a run's over the run. Elements beyond the last whole pack go through the same code
// with the others masked out.
#include <ebb/engine/codegen/kernel.h>

#ifdef EBB_HAS_ASMJIT
#include <asmjit/x86.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

namespace ebb::codegen {
namespace {

using namespace asmjit;
namespace Inst = x86::Inst;
using Mem = x86::Mem;
using Gp = x86::Gp;

// Lanes as all ones: kPartials of them, as many that are not, and kPartials again. Loaded from the middle of it, the
// first or the last lanes of a pack are on.
template <class T>
constexpr auto lane_table() {
  std::array<T, 3 * kPartials> table{};
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = i / kPartials == 1 ? T{0} : static_cast<T>(~T{0});
  return table;
}
alignas(64) constexpr auto kLanes32 = lane_table<std::uint32_t>();
alignas(64) constexpr auto kLanes64 = lane_table<std::uint64_t>();

std::int32_t at(std::size_t array, std::size_t index) { return static_cast<std::int32_t>(array + 8 * index); }

class Emitter {
 public:
  Emitter(CodeHolder& code, const KernelSpec& spec, bool wide)
      : cc_(&code),
        spec_(spec),
        wide_(wide),
        f64_(spec.dtype == DType::f64),
        size_(f64_ ? 8 : 4),
        bytes_(wide ? 64 : 32),
        width_(bytes_ / size_),
        uses_(spec.formula.size()) {
    for (const Value& value : spec.formula.values()) {
      for (std::size_t k = 0; k < value.arity(); ++k) ++uses_[value.of[k]];
    }
    for (const auto& accumulator : spec.accumulators) ++uses_[accumulator.next];
  }

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
    if (!wide_) {
      lanes_ = cc_.newIntPtr();
      cc_.mov(lanes_, f64_ ? reinterpret_cast<std::uintptr_t>(kLanes64.data())
                           : reinterpret_cast<std::uintptr_t>(kLanes32.data()));
    }
    constants_at_ = cc_.cursor();
    single_.resize(spec_.inputs.size());
    for (std::size_t k = 0; k < spec_.inputs.size(); ++k) {
      if (!spec_.inputs[k].moves && !spec_.inputs[k].per_row && may_hold()) single_[k] = broadcast(x86::ptr(in_[k]));
    }
    if (spec_.walk == KernelSpec::Walk::columns) {
      columns();
    } else {
      rows();
    }
    if (std::ranges::any_of(spec_.outputs, &KernelSpec::Output::stream)) cc_.sfence();
    cc_.ret();
    cc_.endFunc();
    return cc_.finalize() == kErrorOk;
  }

 private:
  struct Vec {
    x86::Vec pack;
    x86::KReg mask;  // of a truth value or a tail, with AVX-512
    bool held = false;
  };
  // Where a pack lies, in bytes: `along` a row, and `across` rows too.
  struct Place {
    Gp along, across;
    int disp = 0;
    std::size_t unit = 0;         // which accumulators it has
    std::size_t row = 0;          // of those side by side
    const Vec* loads = nullptr;   // the lanes that are there
    const Vec* counts = nullptr;  // the lanes that accumulators take
    bool stores = true;
  };

  // --- small parts ---------------------------------------------------------------------------------------------------

  Gp field(std::size_t offset) {
    const Gp reg = cc_.newIntPtr();
    cc_.mov(reg, x86::ptr(call_, static_cast<std::int32_t>(offset)));
    return reg;
  }
  Mem in_step(std::size_t k) const { return x86::ptr(call_, at(offsetof(Piece, in_step), k), 8); }

  x86::Vec pack() {
    if (wide_) return cc_.newZmmPs();
    return cc_.newYmmPs();
  }
  template <class... Operands>
  void put(InstId single, InstId twice, const Operands&... operands) {
    cc_.emit(f64_ ? twice : single, operands...);
  }
  x86::Vec broadcast(const Mem& from) {
    const x86::Vec to = pack();
    put(Inst::kIdVbroadcastss, Inst::kIdVbroadcastsd, to, from);
    return to;
  }
  // Whether another register may be spent on what does not change.
  bool may_hold() { return held_ < (wide_ ? 14 : 5) && ++held_ > 0; }

  x86::Vec constant(std::uint64_t bits) {
    for (const auto& [known, reg] : constants_) {
      if (known == bits) return reg;
    }
    const Mem memory = cc_.newConst(ConstPoolScope::kLocal, &bits, static_cast<std::size_t>(size_));
    if (!may_hold()) return broadcast(memory);
    BaseNode* const last = constants_at_;
    BaseNode* const here = cc_.setCursor(last);
    const x86::Vec reg = broadcast(memory);
    constants_at_ = cc_.cursor();
    cc_.setCursor(here == last ? constants_at_ : here);
    constants_.emplace_back(bits, reg);
    return reg;
  }
  x86::Vec number(double value) {
    return constant(f64_ ? std::bit_cast<std::uint64_t>(value)
                         : std::bit_cast<std::uint32_t>(static_cast<float>(value)));
  }
  std::uint64_t sign() const { return f64_ ? std::uint64_t{1} << 63 : std::uint64_t{1} << 31; }
  std::uint64_t ones() const { return f64_ ? ~std::uint64_t{0} : std::uint64_t{0xffffffff}; }

  void load(const x86::Vec& to, const Mem& from, const Vec* lanes) {
    if (!lanes) {
      put(Inst::kIdVmovups, Inst::kIdVmovupd, to, from);
    } else if (wide_) {
      cc_.k(lanes->mask).z();
      put(Inst::kIdVmovups, Inst::kIdVmovupd, to, from);
    } else {
      put(Inst::kIdVmaskmovps, Inst::kIdVmaskmovpd, to, lanes->pack, from);
    }
  }
  void store(const Mem& to, const x86::Vec& from, const Vec* lanes, bool stream) {
    if (!lanes) {
      if (stream) {
        put(Inst::kIdVmovntps, Inst::kIdVmovntpd, to, from);
      } else {
        put(Inst::kIdVmovups, Inst::kIdVmovupd, to, from);
      }
    } else if (wide_) {
      cc_.k(lanes->mask);
      put(Inst::kIdVmovups, Inst::kIdVmovupd, to, from);
    } else {
      put(Inst::kIdVmaskmovps, Inst::kIdVmaskmovpd, to, lanes->pack, from);
    }
  }
  void choose(const x86::Vec& to, const Vec& condition, const x86::Vec& yes, const x86::Vec& no) {
    if (wide_) {
      cc_.k(condition.mask);
      put(Inst::kIdVblendmps, Inst::kIdVblendmpd, to, no, yes);
    } else {
      put(Inst::kIdVblendvps, Inst::kIdVblendvpd, to, no, yes, condition.pack);
    }
  }

  // `count` lanes from the first one on, or the last ones of kPartials; of the pack that begins at lane `first`.
  Vec lanes(const Gp& count, bool last, int first) {
    Vec out;
    if (wide_) {
      const Gp bits = cc_.newUInt32();
      const Gp amount = cc_.newUInt32();
      cc_.mov(amount, count.r32());
      if (last) {
        cc_.neg(amount);
        cc_.add(amount, static_cast<int>(kPartials));
        cc_.mov(bits, 0xffff);
        cc_.shlx(bits, bits, amount);
      } else {
        cc_.mov(bits, 0xffff);
        cc_.bzhi(bits, bits, amount);
      }
      if (first > 0) cc_.shr(bits, first);
      out.mask = cc_.newKw();
      cc_.kmovw(out.mask, bits);
      return out;
    }
    out.pack = pack();
    const Gp from = cc_.newIntPtr();
    cc_.mov(from, count);
    if (!last) cc_.neg(from);
    cc_.imul(from, from, size_);
    cc_.add(from, lanes_);
    put(Inst::kIdVmovups, Inst::kIdVmovupd, out.pack, x86::ptr(from, (static_cast<int>(kPartials) + first) * size_));
    return out;
  }

  // --- formulas ------------------------------------------------------------------------------------------------------

  bool is_column(std::size_t k) const {
    return spec_.walk == KernelSpec::Walk::columns && spec_.inputs[k].moves && !spec_.inputs[k].per_row;
  }

  Vec input(std::size_t k, const Place& place) {
    const KernelSpec::Input& input = spec_.inputs[k];
    Vec out;
    if (!input.moves) {
      if (!of_row_.empty() && place.row < of_row_[k].size()) return {of_row_[k][place.row], {}, false};
      out.pack = single_[k].isValid() ? single_[k] : broadcast(x86::ptr(row_in_.empty() ? in_[k] : row_in_[k]));
      return out;
    }
    if (!column_.empty() && place.unit < column_[k].size()) return {column_[k][place.unit], {}, false};
    out.pack = pack();
    load(out.pack, x86::ptr(in_[k], input.per_row ? place.across : place.along, 0, place.disp), place.loads);
    return out;
  }

  Vec compare(int predicate, const Vec& a, const Vec& b) {
    Vec out;
    if (wide_) {
      out.mask = cc_.newKw();
      put(Inst::kIdVcmpps, Inst::kIdVcmppd, out.mask, a.pack, b.pack, Imm(predicate));
    } else {
      out.pack = pack();
      put(Inst::kIdVcmpps, Inst::kIdVcmppd, out.pack, a.pack, b.pack, Imm(predicate));
    }
    return out;
  }
  Vec logic(Op op, const Vec& a, const Vec& b) {
    Vec out;
    if (wide_) {
      out.mask = cc_.newKw();
      if (op == Op::both) cc_.kandw(out.mask, a.mask, b.mask);
      if (op == Op::either) cc_.korw(out.mask, a.mask, b.mask);
      if (op == Op::opposite) cc_.knotw(out.mask, a.mask);
      return out;
    }
    out.pack = pack();
    if (op == Op::both) put(Inst::kIdVandps, Inst::kIdVandpd, out.pack, a.pack, b.pack);
    if (op == Op::either) put(Inst::kIdVorps, Inst::kIdVorpd, out.pack, a.pack, b.pack);
    if (op == Op::opposite) put(Inst::kIdVxorps, Inst::kIdVxorpd, out.pack, a.pack, constant(ones()));
    return out;
  }

  Vec value(Id id, const Place& place) {
    Vec& known = known_[id];
    if (known.held) return known;
    Vec out = compute(id, place, nullptr);
    out.held = true;
    known_[id] = out;
    return out;
  }

  // With `into` the result is put there, which may be the register of an operand.
  Vec compute(Id id, const Place& place, const x86::Vec* into) {
    const Value& v = spec_.formula[id];
    std::array<Vec, 3> of;
    for (std::size_t k = 0; k < v.arity(); ++k) of[k] = value(v.of[k], place);
    Vec out;
    const auto two = [&](InstId single, InstId twice) {
      out.pack = into ? *into : pack();
      put(single, twice, out.pack, of[0].pack, of[1].pack);
    };
    switch (v.op) {
      case Op::input:
        return input(v.of[0], place);
      case Op::accumulator:
        out.pack = accumulator_[v.of[0]][place.unit];
        break;
      case Op::literal:
        out.pack = number(v.literal);
        break;
      case Op::negate:
        out.pack = into ? *into : pack();
        put(Inst::kIdVxorps, Inst::kIdVxorpd, out.pack, of[0].pack, constant(sign()));
        break;
      case Op::absolute:
        out.pack = into ? *into : pack();
        put(Inst::kIdVandps, Inst::kIdVandpd, out.pack, of[0].pack, constant(ones() ^ sign()));
        break;
      case Op::root:
        out.pack = into ? *into : pack();
        put(Inst::kIdVsqrtps, Inst::kIdVsqrtpd, out.pack, of[0].pack);
        break;
      case Op::add:
        two(Inst::kIdVaddps, Inst::kIdVaddpd);
        break;
      case Op::subtract:
        two(Inst::kIdVsubps, Inst::kIdVsubpd);
        break;
      case Op::multiply:
        two(Inst::kIdVmulps, Inst::kIdVmulpd);
        break;
      case Op::divide:
        two(Inst::kIdVdivps, Inst::kIdVdivpd);
        break;
      case Op::less:
        return compare(0x11, of[0], of[1]);
      case Op::less_equal:
        return compare(0x12, of[0], of[1]);
      case Op::greater:
        return compare(0x1e, of[0], of[1]);
      case Op::greater_equal:
        return compare(0x1d, of[0], of[1]);
      case Op::equal:
        return compare(0x00, of[0], of[1]);
      case Op::differ:
        return compare(0x04, of[0], of[1]);
      case Op::both:
      case Op::either:
      case Op::opposite:
        return logic(v.op, of[0], of[1]);
      case Op::select:
        out.pack = into ? *into : pack();
        choose(out.pack, of[0], of[1].pack, of[2].pack);
        break;
    }
    return out;
  }

  void forget() { known_.assign(spec_.formula.size(), Vec{}); }

  // Whether an accumulator's next value may be computed in its own register: nothing else reads the old one.
  bool in_place(std::size_t k) const {
    const Id next = spec_.accumulators[k].next;
    const Value& v = spec_.formula[next];
    if (v.op != Op::add && v.op != Op::subtract && v.op != Op::multiply) return false;
    const Value& first = spec_.formula[v.of[0]];
    return first.op == Op::accumulator && first.of[0] == k && uses_[v.of[0]] == 1 && uses_[next] == 1;
  }

  // One pack: outputs and accumulators.
  void one(const Place& place) {
    forget();
    for (std::size_t k = 0; place.stores && k < spec_.outputs.size(); ++k) {
      const Vec v = value(spec_.outputs[k].value, place);
      store(x86::ptr(out_[k], place.across, 0, place.disp), v.pack, place.loads,
            spec_.outputs[k].stream && !place.counts);
    }
    std::vector<std::pair<std::size_t, x86::Vec>> moves;
    for (std::size_t k = 0; k < spec_.accumulators.size(); ++k) {
      const Id next = spec_.accumulators[k].next;
      const Value& v = spec_.formula[next];
      if (v.op == Op::accumulator && v.of[0] == k) continue;  // stays as it is
      if (!place.counts && in_place(k)) continue;
      moves.emplace_back(k, value(next, place).pack);
    }
    for (std::size_t k = 0; k < spec_.accumulators.size(); ++k) {
      if (place.counts || !in_place(k)) continue;
      compute(spec_.accumulators[k].next, place, &accumulator_[k][place.unit]);
    }
    for (const auto& [k, v] : moves) {
      const x86::Vec& to = accumulator_[k][place.unit];
      if (place.counts) {
        choose(to, *place.counts, v, to);
      } else {
        put(Inst::kIdVmovaps, Inst::kIdVmovapd, to, v);
      }
    }
  }

  // The accumulator of a row's unit among those of all rows.
  std::size_t accumulator_of(int row, int unit) const {
    return static_cast<std::size_t>(row) * static_cast<std::size_t>(units_) + static_cast<std::size_t>(unit);
  }
  void make_accumulators(std::size_t units) {
    accumulator_.assign(spec_.accumulators.size(), {});
    for (auto& of_one : accumulator_) {
      for (std::size_t u = 0; u < units; ++u) of_one.push_back(pack());
    }
  }

  // reg = (value / unit * unit) elements, in bytes
  Gp whole(const Gp& value, int unit) {
    const Gp reg = cc_.newIntPtr();
    cc_.mov(reg, value);
    cc_.and_(reg, -unit);
    cc_.imul(reg, reg, size_);
    return reg;
  }
  Gp rest(const Gp& value, int unit) {
    const Gp reg = cc_.newIntPtr();
    cc_.mov(reg, value);
    cc_.and_(reg, unit - 1);
    return reg;
  }
  // body() for along = along; along < end; along += step
  template <class Body>
  void loop(const Gp& along, const Gp& end, int step, Body&& body) {
    const Label top = cc_.newLabel(), done = cc_.newLabel();
    cc_.cmp(along, end);
    cc_.jge(done);
    cc_.bind(top);
    body();
    cc_.add(along, step);
    cc_.cmp(along, end);
    cc_.jl(top);
    cc_.bind(done);
  }

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
    while (beside > 1 && beside * each > free) beside /= 2;
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
        of_row_[k].push_back(broadcast(x86::ptr(row_in_[k])));
        cc_.add(row_in_[k], in_step(k));
      }
    }
    make_accumulators(accumulator_of(count, 0));
    const auto place = [&](int row, int unit) {
      const std::size_t r = static_cast<std::size_t>(row);
      return Place{along,
                   across[r],
                   unit * bytes_,
                   r * static_cast<std::size_t>(units_) + static_cast<std::size_t>(unit % units_),
                   r,
                   nullptr,
                   nullptr,
                   true};
    };
    if (runs) begin_runs(count, place);
    const auto advance = [&](int packs) {
      for (const Gp& of : across) cc_.add(of, packs * bytes_);
    };
    const int unrolled = most > 1 ? 4 / most : 4 / units_;
    const auto step = [&](int units) {
      for (int u = 0; u < units * units_; ++u) {
        for (int row = 0; row < count; ++row) one(place(row, u));
      }
      advance(units * units_);
    };
    if (unrolled > 1) {
      const Gp end_unrolled = whole(n_, units_ * width_ * unrolled);
      loop(along, end_unrolled, unrolled * units_ * bytes_, [&] { step(unrolled); });
    }
    loop(along, end, units_ * bytes_, [&] { step(1); });
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

  Gp copy(const Gp& from) {
    const Gp to = cc_.newIntPtr();
    cc_.mov(to, from);
    return to;
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
          one({at, rows[r], u * bytes_, accumulator_of(row, u), r, last ? nullptr : &there, &there, true});
        }
      }
    };
    cc_.cmp(n_, static_cast<int>(kPartials));
    cc_.jl(few);
    const Gp back = copy(over);
    cc_.sub(back, static_cast<int>(kPartials));
    cc_.imul(back, back, size_);
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
        const std::int32_t disp = static_cast<std::int32_t>(u) * bytes_;
        const Mem memory = along ? x86::ptr(kept_[k], *along, 0, disp) : x86::ptr(kept_[k], disp);
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
    while (tile > 1 && tile * each > free) tile /= 2;
    const bool hold_columns = tile * each <= free;

    const Gp along = cc_.newIntPtr();
    cc_.xor_(along.r32(), along.r32());
    const Gp end_tile = whole(n_, static_cast<int>(tile) * width_);
    const Gp end = whole(n_, width_);
    const Gp over = rest(n_, width_);
    const Vec tail = lanes(over, false, 0);
    loop(along, end_tile, static_cast<int>(tile) * bytes_, [&] { columns_tile(along, tile, nullptr, hold_columns); });
    if (tile > 1) loop(along, end, bytes_, [&] { columns_tile(along, 1, nullptr, hold_columns); });
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
        const x86::Vec reg = pack();
        load(reg, x86::ptr(in_[k], along, 0, static_cast<std::int32_t>(u) * bytes_), tail);
        column_[k].push_back(reg);
      }
    }
    const auto place = [&](const Gp& across, std::size_t u) {
      return Place{along, across, static_cast<int>(u) * bytes_, u, 0, tail, nullptr, true};
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
      if (spec_.inputs[k].moves || single_[k].isValid() || tile == 1) continue;
      single_[k] = broadcast(x86::ptr(row_in_[k]));
      of_row.push_back(k);
    }
    for (std::size_t u = 0; u < tile; ++u) one(place(across, u));
    for (const std::size_t k : of_row) single_[k] = {};
    cc_.add(across, x86::ptr(call_, static_cast<std::int32_t>(offsetof(Piece, full_step)), 8));
    for (std::size_t k = 0; k < in_.size(); ++k) {
      if (!spec_.inputs[k].moves && spec_.inputs[k].per_row) cc_.add(row_in_[k], in_step(k));
    }
    cc_.dec(left);
    cc_.jnz(top);
    row_in_.clear();
    move_accumulators(&along, true);
  }

  x86::Compiler cc_;
  const KernelSpec& spec_;
  bool wide_, f64_;
  int size_, bytes_, width_;
  std::vector<int> uses_;
  int held_ = 0;
  Gp call_, n_, lanes_;
  int units_ = 1;  // packs of a run's accumulators
  std::vector<Gp> in_, out_, kept_, row_in_;
  std::vector<x86::Vec> single_;               // inputs that are one element, broadcast
  std::vector<std::vector<x86::Vec>> of_row_;  // the same, for each of the rows side by side
  std::vector<std::vector<x86::Vec>> column_;  // inputs that are the same for all rows, held over a tile
  std::vector<std::vector<x86::Vec>> accumulator_;
  std::vector<std::pair<std::uint64_t, x86::Vec>> constants_;
  BaseNode* constants_at_ = nullptr;
  std::vector<Vec> known_;
};

class Generated : public Kernel {
 public:
  static std::unique_ptr<Kernel> make(const KernelSpec& spec, bool wide) {
    CodeHolder code;
    if (code.init(runtime().environment()) != kErrorOk) return nullptr;
    if (!Emitter(code, spec, wide).run()) return nullptr;
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

bool available() { return active_isa() != Isa::base; }

std::unique_ptr<Kernel> generate(const KernelSpec& spec) {
  return available() ? Generated::make(spec, active_isa() == Isa::avx512) : nullptr;
}

}  // namespace ebb::codegen

#else

namespace ebb::codegen {

bool available() { return false; }
std::unique_ptr<Kernel> generate(const KernelSpec&) { return nullptr; }

}  // namespace ebb::codegen

#endif
