// Instructions over packs of one dtype, for AVX2 or AVX-512: what the two sets and the two dtypes do differently ends
// here. AsmJit encodes them and deals out registers.
#pragma once

#ifdef EBB_HAS_ASMJIT
#include <ebb/engine/codegen/kernel.h>

#include <asmjit/x86.h>

#include <array>
#include <cstring>
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
    Gp count;        // of a tail: how many lanes it has from `first` on, without AVX-512
    int first = 0;
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
  bool may_hold_another() const { return held_ < (wide_ ? 14 : 5); }
  bool may_hold() { return may_hold_another() && ++held_ > 0; }

  const x86::Vec* held_constant(std::uint64_t bits) const {
    for (const auto& [known, reg] : constants_) {
      if (known == bits) return &reg;
    }
    return nullptr;
  }
  // In a register: one that holds it throughout while there are some, else one for this use.
  x86::Vec constant(std::uint64_t bits) {
    if (const x86::Vec* held = held_constant(bits)) return *held;
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
  // As the last operand of an instruction, which may lie in memory.
  asmjit::Operand constant_operand(std::uint64_t bits) {
    if (held_constant(bits) || may_hold_another()) return constant(bits);
    std::array<std::byte, 64> lanes{};
    for (int at = 0; at < bytes_; at += size_) {
      std::memcpy(lanes.data() + at, &bits, static_cast<std::size_t>(size_));
    }
    return cc_.newConst(asmjit::ConstPoolScope::kLocal, lanes.data(), static_cast<std::size_t>(bytes_));
  }
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

  // Booleans are a byte for each lane; a truth value is all ones in its lane, or its bit of a mask register.
  Vec load_flags(const Mem& from, const Vec* lanes) {
    Vec out;
    const x86::Xmm bytes = cc_.newXmm();
    if (wide_) {
      if (lanes) {
        cc_.k(lanes->mask).z().vmovdqu8(bytes, from);
      } else if (f64_) {
        cc_.vmovq(bytes, from);
      } else {
        cc_.vmovdqu(bytes, from);
      }
      out.mask = cc_.newKw();
      cc_.vptestmb(out.mask, bytes, bytes);
      return out;
    }
    if (lanes) {
      const Gp all = cc_.newUInt64();
      const asmjit::Label done = cc_.newLabel();
      cc_.xor_(all.r32(), all.r32());
      for (int i = 0; i < width_; ++i) {
        cc_.cmp(lanes->count, lanes->first + i);
        cc_.jle(done);
        const Gp byte = cc_.newUInt64();
        cc_.movzx(byte.r32(), byte_of(from, i));
        if (i > 0) cc_.shl(byte, 8 * i);
        cc_.or_(all, byte);
      }
      cc_.bind(done);
      cc_.vmovq(bytes, all);
    } else if (f64_) {
      cc_.vmovd(bytes, from);
    } else {
      cc_.vmovq(bytes, from);
    }
    out.pack = pack();
    put(Inst::kIdVpmovzxbd, Inst::kIdVpmovzxbq, out.pack, bytes);
    put(Inst::kIdVpcmpgtd, Inst::kIdVpcmpgtq, out.pack, out.pack, constant(0));
    return out;
  }
  Vec broadcast_flag(const Mem& from) {
    Vec out;
    const Gp flag = cc_.newUInt64();
    cc_.movzx(flag.r32(), byte_of(from, 0));
    cc_.neg(flag);
    if (wide_) {
      out.mask = cc_.newKw();
      cc_.kmovw(out.mask, flag.r32());
      return out;
    }
    const x86::Xmm low = cc_.newXmm();
    cc_.vmovq(low, flag);
    out.pack = pack();
    cc_.vpbroadcastq(out.pack.ymm(), low);
    return out;
  }
  void store_flags(const Mem& to, const Vec& from, const Vec* lanes) {
    const x86::Xmm bytes = cc_.newXmm();
    if (wide_) {
      cc_.vpmovm2b(bytes, from.mask);
      cc_.vpabsb(bytes, bytes);  // -1 is true
      if (lanes) {
        cc_.k(lanes->mask).vmovdqu8(to, bytes);
      } else if (f64_) {
        cc_.vmovq(to, bytes);
      } else {
        cc_.vmovdqu(to, bytes);
      }
      return;
    }
    cc_.vextracti128(bytes, from.pack.ymm(), 1);
    cc_.vpackssdw(bytes, from.pack.xmm(), bytes);
    cc_.vpacksswb(bytes, bytes, bytes);
    if (f64_) cc_.vpacksswb(bytes, bytes, bytes);  // each was there twice
    cc_.vpabsb(bytes, bytes);
    if (!lanes) {
      f64_ ? cc_.vmovd(to, bytes) : cc_.vmovq(to, bytes);
      return;
    }
    const Gp all = cc_.newUInt64();
    const asmjit::Label done = cc_.newLabel();
    cc_.vmovq(all, bytes);
    for (int i = 0; i < width_; ++i) {
      cc_.cmp(lanes->count, lanes->first + i);
      cc_.jle(done);
      cc_.mov(byte_of(to, i), all.r8());
      cc_.shr(all, 8);
    }
    cc_.bind(done);
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
      if (f64_) cc_.and_(bits, 0xff);
      out.mask = cc_.newKw();
      cc_.kmovw(out.mask, bits);
      return out;
    }
    out.pack = pack();
    out.count = count;
    out.first = first;
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
      if (op == Op::exclusive) cc_.kxorw(out.mask, a.mask, b.mask);
      return out;
    }
    out.pack = pack();
    if (op == Op::both) put(Inst::kIdVandps, Inst::kIdVandpd, out.pack, a.pack, b.pack);
    if (op == Op::either) put(Inst::kIdVorps, Inst::kIdVorpd, out.pack, a.pack, b.pack);
    if (op == Op::exclusive) put(Inst::kIdVxorps, Inst::kIdVxorpd, out.pack, a.pack, b.pack);
    return out;
  }
  Vec always() {
    Vec out;
    if (wide_) {
      out.mask = cc_.newKw();
      const Gp bits = cc_.newUInt32();
      cc_.mov(bits, 0xffff);
      cc_.kmovw(out.mask, bits);
    } else {
      out.pack = constant(ones());
    }
    return out;
  }

  // --- addresses -----------------------------------------------------------------------------------------------------

  // Element `index` + offset of a row: numbers of the packs' dtype, or booleans.
  Mem element(const Gp& base, const Gp& index, int offset, bool flags = false) const {
    return flags ? x86::ptr(base, index, 0, offset) : x86::ptr(base, index, f64_ ? 3 : 2, offset * size_);
  }
  static Mem byte_of(const Mem& memory, int offset) {
    Mem byte = memory.cloneAdjusted(offset);
    byte.setSize(1);
    return byte;
  }

  Gp copy(const Gp& from) {
    const Gp to = cc_.newIntPtr();
    cc_.mov(to, from);
    return to;
  }
  // value / unit * unit
  Gp whole(const Gp& value, int unit) {
    const Gp reg = copy(value);
    cc_.and_(reg, -unit);
    return reg;
  }
  Gp rest(const Gp& value, int unit) {
    const Gp reg = copy(value);
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
