// A formula's values in registers, and what is done with them: one pack of each row is read, computed, stored and taken
// into accumulators.
#pragma once

#ifdef EBB_HAS_ASMJIT
#include <ebb/engine/codegen/x86/packs.h>

#include <algorithm>

namespace ebb::codegen {

class Values : protected Packs {
 protected:
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

  Values(asmjit::CodeHolder& code, const KernelSpec& spec, bool wide)
      : Packs(code, spec.dtype, wide), spec_(spec), uses_(spec.formula.size()) {
    for (const Value& value : spec.formula.values()) {
      for (std::size_t k = 0; k < value.arity(); ++k) ++uses_[value.of[k]];
    }
    for (const auto& accumulator : spec.accumulators) ++uses_[accumulator.next];
  }

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

  const KernelSpec& spec_;
  int units_ = 1;  // packs of a run's accumulators
  std::vector<Gp> in_, out_, row_in_;
  std::vector<x86::Vec> single_;               // inputs that are one element, broadcast
  std::vector<std::vector<x86::Vec>> of_row_;  // the same, for each of the rows side by side
  std::vector<std::vector<x86::Vec>> column_;  // inputs that are the same for all rows, held over a tile
  std::vector<std::vector<x86::Vec>> accumulator_;

 private:
  std::vector<int> uses_;
  std::vector<Vec> known_;
};

}  // namespace ebb::codegen

#endif
