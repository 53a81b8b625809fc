// A formula's values in registers, and what is done with them: one pack of each row is read, computed, stored and taken
// into accumulators.
#pragma once

#ifdef EBB_HAS_ASMJIT
#include <ebb/engine/codegen/x86/packs.h>

#include <optional>

namespace ebb::codegen {

class Values : protected Packs {
 protected:
  // Where a pack lies, in elements: `along` a row, and `across` rows too.
  struct Place {
    Gp along, across;
    int offset = 0;
    std::size_t unit = 0;         // which accumulators it has
    std::size_t row = 0;          // of those side by side
    const Vec* loads = nullptr;   // the lanes that are there
    const Vec* counts = nullptr;  // the lanes that accumulators take
    bool stores = true;
  };

  Values(asmjit::CodeHolder& code, const KernelSpec& spec, bool wide)
      : Packs(code, spec.formula.dtype(), wide), spec_(spec), uses_(spec.formula.size()) {
    for (const Value& value : spec.formula.values()) {
      for (std::size_t k = 0; k < value.arity(); ++k) ++uses_[value.of[k]];
    }
    for (const auto& accumulator : spec.accumulators) ++uses_[accumulator.next];
  }

  bool is_column(std::size_t k) const {
    return spec_.walk == KernelSpec::Walk::columns && spec_.inputs[k].moves && !spec_.inputs[k].per_row;
  }

  // An input's one element for all lanes.
  Vec single(std::size_t k, const Gp& at) {
    if (spec_.inputs[k].flag) return broadcast_flag(x86::ptr(at));
    Vec out;
    out.pack = broadcast(x86::ptr(at));
    return out;
  }
  Vec several(std::size_t k, const Gp& index, int offset, const Vec* lanes) {
    const bool flag = spec_.inputs[k].flag;
    const Mem memory = element(in_[k], index, offset, flag);
    if (flag) return load_flags(memory, lanes);
    Vec out;
    out.pack = pack();
    load(out.pack, memory, lanes);
    if (spec_.ahead > 0 && !lanes) cc_.prefetcht0(memory.cloneAdjusted(spec_.ahead));
    return out;
  }

  Vec input(std::size_t k, const Place& place) {
    const KernelSpec::Input& input = spec_.inputs[k];
    if (!input.moves) {
      if (!of_row_.empty() && place.row < of_row_[k].size()) return of_row_[k][place.row];
      return single_[k] ? *single_[k] : single(k, row_in_.empty() ? in_[k] : row_in_[k]);
    }
    if (!column_.empty() && place.unit < column_[k].size()) return column_[k][place.unit];
    return several(k, input.per_row ? place.across : place.along, place.offset, place.loads);
  }

  Vec value(Id id, const Place& place) {
    const Value& v = spec_.formula[id];
    // Not to be remembered: it would take a register until its last use.
    if (v.op == Op::literal) {
      Vec out;
      out.pack = constant(v.bits);
      return out;
    }
    std::optional<Vec>& known = known_[id];
    if (!known) known = compute(id, place, nullptr);
    return *known;
  }

  // With `into` the result is put there, which may be the register of an operand.
  Vec compute(Id id, const Place& place, const x86::Vec* into) {
    const Value& v = spec_.formula[id];
    Vec out;
    const auto result = [&]() -> x86::Vec& { return out.pack = into ? *into : pack(); };
    const auto is_literal = [&](std::size_t k) { return spec_.formula[v.of[k]].op == Op::literal; };
    const auto two = [&](InstId single, InstId twice, bool commutes = false) {
      // A constant may come from memory if it is the second operand.
      const std::size_t second = commutes && is_literal(0) ? 0 : 1;
      const x86::Vec a = value(v.of[1 - second], place).pack;
      const asmjit::Operand b = is_literal(second) ? constant_operand(spec_.formula[v.of[second]].bits)
                                                   : asmjit::Operand(value(v.of[second], place).pack);
      put(single, twice, result(), a, b);
      return out;
    };
    const auto shift = [&](InstId single, InstId twice) {
      const x86::Vec a = value(v.of[0], place).pack;
      put(single, twice, result(), a, asmjit::Imm(v.bits));
      return out;
    };
    switch (v.op) {
      case Op::input:
      case Op::flag:
        return input(v.bits, place);
      case Op::accumulator:
        out.pack = accumulator_[v.bits][place.unit];
        return out;
      case Op::literal:
        return value(id, place);
      case Op::always:
        return always();
      case Op::root: {
        const x86::Vec a = value(v.of[0], place).pack;
        put(Inst::kIdVsqrtps, Inst::kIdVsqrtpd, result(), a);
        return out;
      }
      case Op::add:
        return two(Inst::kIdVaddps, Inst::kIdVaddpd, true);
      case Op::subtract:
        return two(Inst::kIdVsubps, Inst::kIdVsubpd);
      case Op::multiply:
        return two(Inst::kIdVmulps, Inst::kIdVmulpd, true);
      case Op::divide:
        return two(Inst::kIdVdivps, Inst::kIdVdivpd);
      case Op::least:
        return two(Inst::kIdVminps, Inst::kIdVminpd);
      case Op::greatest:
        return two(Inst::kIdVmaxps, Inst::kIdVmaxpd);
      case Op::bit_and:
        return two(Inst::kIdVandps, Inst::kIdVandpd, true);
      case Op::bit_or:
        return two(Inst::kIdVorps, Inst::kIdVorpd, true);
      case Op::bit_xor:
        return two(Inst::kIdVxorps, Inst::kIdVxorpd, true);
      case Op::add_integers:
        return two(Inst::kIdVpaddd, Inst::kIdVpaddq, true);
      case Op::shift_left:
        return shift(Inst::kIdVpslld, Inst::kIdVpsllq);
      case Op::shift_right:
        return shift(Inst::kIdVpsrld, Inst::kIdVpsrlq);
      case Op::select: {
        const Vec condition = value(v.of[0], place);
        const x86::Vec yes = value(v.of[1], place).pack, no = value(v.of[2], place).pack;
        choose(result(), condition, yes, no);
        return out;
      }
      case Op::less:
      case Op::less_equal:
      case Op::greater:
      case Op::greater_equal:
      case Op::equal:
        return compare(predicate(v.op), value(v.of[0], place), value(v.of[1], place));
      case Op::exclusive:
        // The opposite of a comparison is another one.
        if (const Value& of = spec_.formula[v.of[0]];
            of.op >= Op::less && of.op <= Op::equal && spec_.formula[v.of[1]].op == Op::always) {
          return compare(predicate(of.op) ^ 4, value(of.of[0], place), value(of.of[1], place));
        }
        [[fallthrough]];
      case Op::both:
      case Op::either: {
        const Vec a = value(v.of[0], place);
        return logic(v.op, a, value(v.of[1], place));
      }
    }
    return out;
  }

  // Ordered and quiet; 4 more is the opposite.
  static int predicate(Op op) {
    switch (op) {
      case Op::less:
        return 0x11;
      case Op::less_equal:
        return 0x12;
      case Op::greater:
        return 0x1e;
      case Op::greater_equal:
        return 0x1d;
      default:
        return 0x00;
    }
  }

  void forget() { known_.assign(spec_.formula.size(), std::nullopt); }

  // Whether an accumulator's next value may be computed in its own register: nothing else reads the old one.
  bool in_place(std::size_t k) const {
    const Id next = spec_.accumulators[k].next;
    const Value& v = spec_.formula[next];
    if (v.op != Op::add && v.op != Op::subtract && v.op != Op::multiply) return false;
    const Value& first = spec_.formula[v.of[0]];
    return first.op == Op::accumulator && first.bits == k && uses_[v.of[0]] == 1 && uses_[next] == 1;
  }

  // One pack: outputs and accumulators.
  void one(const Place& place) {
    forget();
    for (std::size_t k = 0; place.stores && k < spec_.outputs.size(); ++k) {
      const Id id = spec_.outputs[k].value;
      const bool truth = spec_.formula[id].is_truth();
      const Vec v = value(id, place);
      const Mem memory = element(out_[k], place.across, place.offset, truth);
      if (truth) {
        store_flags(memory, v, place.loads);
      } else {
        store(memory, v.pack, place.loads, spec_.outputs[k].stream && !place.counts);
      }
    }
    std::vector<std::pair<std::size_t, x86::Vec>> moves;
    for (std::size_t k = 0; k < spec_.accumulators.size(); ++k) {
      const Id next = spec_.accumulators[k].next;
      const Value& v = spec_.formula[next];
      if (v.op == Op::accumulator && v.bits == k) continue;  // stays as it is
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
  std::vector<std::optional<Vec>> single_;  // inputs that are one element, broadcast
  std::vector<std::vector<Vec>> of_row_;    // the same, for each of the rows side by side
  std::vector<std::vector<Vec>> column_;    // inputs that are the same for all rows, held over a tile
  std::vector<std::vector<x86::Vec>> accumulator_;

 private:
  std::vector<int> uses_;
  std::vector<std::optional<Vec>> known_;
};

}  // namespace ebb::codegen

#endif
