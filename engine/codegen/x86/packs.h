// Instructions over packs of one dtype, for AVX2 or AVX-512: what the two sets and the two dtypes do differently ends
// here. AsmJit encodes them and deals out registers.
#pragma once

#ifdef EBB_HAS_ASMJIT
#include <ebb/engine/codegen/kernel.h>

#include <asmjit/x86.h>

#include <bit>
#include <utility>

namespace ebb::codegen {

namespace x86 = asmjit::x86;
namespace Inst = x86::Inst;
using asmjit::InstId;
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
alignas(64) inline constexpr auto kLanes32 = lane_table<std::uint32_t>();
alignas(64) inline constexpr auto kLanes64 = lane_table<std::uint64_t>();

class Packs {
 protected:
  struct Vec {
    x86::Vec pack;
    x86::KReg mask;  // of a truth value or a tail, with AVX-512
    bool held = false;
  };

  Packs(asmjit::CodeHolder& code, DType dtype, bool wide)
      : cc_(&code),
        wide_(wide),
        f64_(dtype == DType::f64),
        size_(f64_ ? 8 : 4),
        bytes_(wide ? 64 : 32),
        width_(bytes_ / size_) {}

  // What comes before all else in the function.
  void begin_packs() {
    if (!wide_) {
      lanes_ = cc_.newIntPtr();
      cc_.mov(lanes_, f64_ ? reinterpret_cast<std::uintptr_t>(kLanes64.data())
                           : reinterpret_cast<std::uintptr_t>(kLanes32.data()));
    }
    constants_at_ = cc_.cursor();
  }

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
    const Mem memory = cc_.newConst(asmjit::ConstPoolScope::kLocal, &bits, static_cast<std::size_t>(size_));
    if (!may_hold()) return broadcast(memory);
    asmjit::BaseNode* const last = constants_at_;
    asmjit::BaseNode* const here = cc_.setCursor(last);
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

  Vec compare(int predicate, const Vec& a, const Vec& b) {
    Vec out;
    if (wide_) {
      out.mask = cc_.newKw();
      put(Inst::kIdVcmpps, Inst::kIdVcmppd, out.mask, a.pack, b.pack, asmjit::Imm(predicate));
    } else {
      out.pack = pack();
      put(Inst::kIdVcmpps, Inst::kIdVcmppd, out.pack, a.pack, b.pack, asmjit::Imm(predicate));
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

  // --- addresses -----------------------------------------------------------------------------------------------------

  Gp copy(const Gp& from) {
    const Gp to = cc_.newIntPtr();
    cc_.mov(to, from);
    return to;
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
    const asmjit::Label top = cc_.newLabel(), done = cc_.newLabel();
    cc_.cmp(along, end);
    cc_.jge(done);
    cc_.bind(top);
    body();
    cc_.add(along, step);
    cc_.cmp(along, end);
    cc_.jl(top);
    cc_.bind(done);
  }

  x86::Compiler cc_;
  bool wide_, f64_;
  int size_, bytes_, width_;
  int held_ = 0;

 private:
  Gp lanes_;
  std::vector<std::pair<std::uint64_t, x86::Vec>> constants_;
  asmjit::BaseNode* constants_at_ = nullptr;
};

}  // namespace ebb::codegen

#endif
