// The functions of the vocabulary on packs of floats, for whatever type of packs has a Machine.
//
// On an instruction set's packs they compute; on recorded packs (codegen/recorded.h) the same text writes itself down,
// operation by operation, for generated code. The type of the packs is part of every name here, so what is compiled for
// one set is never called by another.
//
// Each is a reduction to a small interval and a polynomial there, made of + - * / and selections alone: no tables, no
// branches but one for huge angles, no fused multiply-adds, so the bits are the same on every instruction set.
// Polynomials are Taylor series where the interval is small enough for that, else minimax fits (to half an ulp and
// less, computed with 200 bits). Where a result would overflow, or fall below the normal numbers, on the way to one
// that does not, powers of two are multiplied in last, in two halves. References: Cody and Waite 1980 for the
// reductions; Tang 1990 for log; Dekker 1971 for products in two parts.
#pragma once

#include <ebb/engine/lanes/math.h>

#include <array>
#include <bit>
#include <math.h>

namespace ebb::lane {

/// What a type of packs P offers beside operators and `select`: `Bits`, packs of as many unsigned integers; `bits` and
/// `real`, the same bits as one or the other; `least` and `greatest`, which take the second operand if one is a NaN;
/// `root`; `Wide`, packs of doubles, `widened`, two of them, and `narrowed`; and `or_by_library(x, y, limit, f)`: y,
/// but f(x) where x lies outside of -limit..limit.
template <class P>
struct Machine;

/// What depends on the type of an element alone.
template <class P, class T = typename P::value_type>
struct Format;

template <class P>
struct Format<P, float> {
  using Bits = std::uint32_t;
  static constexpr int kMantissa = 23, kBias = 127;
  static constexpr float kLn2High = 0x1.63p-1F, kLn2Low = -0x1.bd0105c610ca8p-13F;
  static constexpr float kExpLow = -120, kExpHigh = 90;  // x e^x is 0 below, e^x / 2 infinite above
  static constexpr int kLift = 64;                       // e^kExpLow times 2^kLift is a normal number
  static constexpr float kOne = 10;                      // tanh is 1 from here on
  static constexpr float kAngle = 8192;                  // the largest that quarter turns are taken off of by parts
  static constexpr float kTail = 13.29F;                 // x times the normal tail is no normal number from here on
  static constexpr std::array kHalfPi{0x1.92p+0F, 0x1.fb4p-12F, 0x1.444p-24F, 0x1.68cp-39F, 0x1.1a6264p-54F};
  static constexpr std::size_t kExpTerms = 6, kLogTerms = 4, kSinTerms = 4, kCosTerms = 4, kErfTerms = 12;
  static constexpr std::array kAtan{-0.333333069F, 0.19998183F, -0.142395327F, 0.105698288F, -0.0602630523F};
  static constexpr std::array kHalfExp{1.0F,
                                       -0.500000018216F,
                                       0.12499998014F,
                                       -0.0208330246004F,
                                       0.00260426429257F,
                                       -0.000261714283853F,
                                       2.16199908904e-5F};
  static constexpr std::array kTailOver{49.6179860040F, 43.2357625638F, 17.9921587861F, 3.96787060949F,
                                        0.398947950252F};
  static constexpr std::array kTailUnder{99.2359715147F, 165.650410220F, 118.535826133F,
                                         46.0832507256F, 9.94670914087F, 1.0F};
};

template <class P>
struct Format<P, double> {
  using Bits = std::uint64_t;
  static constexpr int kMantissa = 52, kBias = 1023;
  static constexpr double kLn2High = 0x1.62e42feep-1, kLn2Low = 0x1.a39ef35793c76p-33;
  static constexpr double kExpLow = -760, kExpHigh = 711;
  static constexpr int kLift = 122;
  static constexpr double kOne = 20;
  static constexpr double kAngle = 1 << 20;
  static constexpr double kTail = 37.66;
  static constexpr std::array kHalfPi{0x1.921fb544p+0, 0x1.0b4611a6p-34, 0x1.3198a2ep-69, 0x1.b839a252049c1p-104};
  static constexpr std::size_t kExpTerms = 12, kLogTerms = 11, kSinTerms = 8, kCosTerms = 8, kErfTerms = 21;
  static constexpr std::array kAtan{-0.33333333333333324,  0.19999999999997014,   -0.14285714285329708,
                                    0.11111111085322109,   -0.09090908059031191,  0.076922810999377433,
                                    -0.066662052599765262, 0.058768340046141607,  -0.05217312574061591,
                                    0.04499500728984032,   -0.033387824501211952, 0.015113765096600925};
  static constexpr std::array kHalfExp{1.0,
                                       -0.50000000000000001527,
                                       0.12500000000000044434,
                                       -0.020833333333332707722,
                                       0.0026041666666557546401,
                                       -0.0002604166666737554258,
                                       0.000021701388986578722,
                                       -1.5500991743325415235e-6,
                                       9.6880805939311446925e-8,
                                       -5.3823482685242353262e-9,
                                       2.6984734434796060016e-10,
                                       -1.2204222576373262046e-11};
  static constexpr std::array kTailOver{145496.74137325834998, 225238.4717328853091,  172509.17208679168786,
                                        83940.918760264151913, 28316.395351021924843, 6839.3260214901715517,
                                        1182.6103840608891769, 141.64577400440932958, 10.744313131265939908,
                                        0.39894228040007898801};
  static constexpr std::array kTailUnder{290993.4827465167139,
                                         682656.15064346852976,
                                         744202.40573595175224,
                                         497734.4409059915027,
                                         226852.29592191253899,
                                         73889.174257252150912,
                                         17496.701418866866861,
                                         2991.296622134780896,
                                         356.05330216486740386,
                                         26.931999085630079269,
                                         1.0};
};

template <Packed Pack>
requires std::is_floating_point_v<typename Pack::value_type>
struct PackMath<Pack> {
  using P = Pack;
  using T = typename P::value_type;
  using M = typename P::batch_bool_type;
  using F = Format<P>;
  using Bits = typename F::Bits;
  using Own = Machine<P>;
  using U = typename Own::Bits;
  static constexpr T kInf = std::numeric_limits<T>::infinity();
  static constexpr T kNan = std::numeric_limits<T>::quiet_NaN();
  // Added to a number, it leaves the nearest integer in the last bits.
  static constexpr T kMagic = static_cast<T>(Bits{3} << (F::kMantissa - 1));

  static U bits(const P& x) { return Own::bits(x); }
  static P real(const U& x) { return Own::real(x); }

  template <std::size_t N>
  static P polynomial(const P& x, const std::array<T, N>& c) {
    P y(c[N - 1]);
    for (std::size_t i = N - 1; i-- > 0;) y = y * x + P(c[i]);
    return y;
  }
  // The even powers and the odd ones, each in turns: of a large x, half as many roundings meet. `z` is x * x.
  template <std::size_t N>
  static P polynomial(const P& x, const P& z, const std::array<T, N>& c) {
    P even(c[(N - 1) / 2 * 2]);
    P odd(c[N / 2 * 2 - 1]);
    for (std::size_t i = (N - 1) / 2 * 2; i > 0; i -= 2) even = even * z + P(c[i - 2]);
    for (std::size_t i = N / 2 * 2 - 1; i > 1; i -= 2) odd = odd * z + P(c[i - 2]);
    return even + x * odd;
  }
  // 1/n!, 1/(n + step)!, ...; by steps of 2 the signs are those of the sine and the cosine.
  template <std::size_t N>
  static constexpr std::array<T, N> factorials(int first, int step) {
    std::array<T, N> c{};
    long double value = 1;
    for (int n = 1; n < first; ++n) value /= n;
    for (int i = 0; i < static_cast<int>(N); ++i) {
      const int n = first + step * i;
      for (int k = n - (i == 0 ? 0 : step - 1); k <= n; ++k) value /= k;
      c[static_cast<std::size_t>(i)] = static_cast<T>(step == 2 && n / 2 % 2 != 0 ? -value : value);
    }
    return c;
  }

  // 2/first, 2/(first + 2), ...: log((1 + s) / (1 - s)) = 2 s + s^3 (2/3 + (2/5) s^2 + ...).
  template <std::size_t N>
  static constexpr std::array<T, N> atanh_series(std::size_t first) {
    std::array<T, N> c{};
    for (std::size_t i = 0; i < N; ++i) c[i] = T(2) / static_cast<T>(2 * i + first);
    return c;
  }

  // --- signs and integers --------------------------------------------------------------------------------------------

  static P sign_of(const P& x) { return x & P(T(-0.0)); }
  static P abs(const P& x) { return real(bits(x) & U(~Bits{0} >> 1)); }
  static P sqrt(const P& x) { return Own::root(x); }
  static M is_nan(const P& x) { return !(x == x); }
  // A NaN stays one: of a NaN and a number, the instruction takes its second operand.
  static P at_most(const P& x, T limit) { return Own::least(P(limit), x); }
  static P at_least(const P& x, T limit) { return Own::greatest(P(limit), x); }
  static P nearest(const P& x) { return (x + P(kMagic)) - P(kMagic); }  // of a small number; loses the sign of 0

  static P round(const P& x) {
    const P m = P(static_cast<T>(Bits{1} << F::kMantissa));  // from here on all numbers are integers
    const P a = abs(x);
    return select(a < m, (a + m) - m, a) | sign_of(x);
  }
  static P trunc(const P& x) {
    const P a = abs(x);
    const P r = round(a);
    return select(r > a, r - P(T(1)), r) | sign_of(x);
  }
  static P floor(const P& x) {
    const P r = round(x);
    return select(r > x, r - P(T(1)), r);
  }
  static P ceil(const P& x) { return negate(floor(negate(x))); }

  // --- exponentials --------------------------------------------------------------------------------------------------

  // x = n ln 2 + r. A NaN stays one in r.
  struct Reduced {
    P n, r;
  };
  static Reduced reduced(const P& x) { return reduced_within(at_least(at_most(x, F::kExpHigh), F::kExpLow)); }
  static Reduced reduced_within(const P& x) {
    const P n = nearest(x * P(T(1.4426950408889634L)));
    return {n, x - n * P(F::kLn2High) - n * P(F::kLn2Low)};
  }
  // e^r - 1
  static P small_expm1(const P& r) {
    static constexpr auto kSeries = factorials<F::kExpTerms>(2, 1);
    return r + r * r * polynomial(r, kSeries);
  }
  // 2^n, of normal numbers.
  static P power_of_two(const P& n, T more = 0) { return real(bits(n + P(kMagic + F::kBias + more)) << F::kMantissa); }
  // x * 2^n, rounded once, also where 2^n is no number.
  static P scaled(const P& x, const P& n) {
    const P half = nearest(n * P(T(0.5)));
    return x * power_of_two(half) * power_of_two(n - half);
  }
  // For a factor that is not large, and n <= 0 down to kExpLow's: 2^n for `lowered`, which multiplies with it and
  // rounds once, also where 2^n is no number.
  static P lowering(const P& n) { return power_of_two(n, F::kLift); }
  static P lowered(const P& x, const P& lowering) {
    constexpr T back =
        T(1) / static_cast<T>(std::uint64_t{1} << (F::kLift / 2)) / static_cast<T>(std::uint64_t{1} << (F::kLift / 2));
    return x * lowering * P(back);
  }

  static P exp(const P& x) {
    const auto [n, r] = reduced(x);
    return scaled(small_expm1(r) + P(T(1)), n);
  }
  static P expm1(const P& x) {
    // 2 (2^(n-1) q + (2^(n-1) - 1/2)): e^x may be a number where 2^n is none. Far below it is -1, far above infinite.
    constexpr T low = -4 * F::kOne, high = F::kExpHigh - 1;
    const auto [n, r] = reduced_within(at_least(at_most(x, high), low));
    const P s = power_of_two(n - P(T(1)));
    const P y = P(T(2)) * (s * small_expm1(r) + (s - P(T(0.5))));
    return select(abs(x) < P(std::numeric_limits<T>::epsilon() / 4), x, y);  // a half of x may be no number
  }
  static P sinh(const P& x) {
    const P a = abs(x);
    const auto [n, r] = reduced(a);
    const P t = expm1(a);
    const P y =
        select(a < P(F::kOne), P(T(0.5)) * (t + t / (t + P(T(1)))), scaled(small_expm1(r) + P(T(1)), n - P(T(1))));
    return y | sign_of(x);
  }
  static P cosh(const P& x) {
    const auto [n, r] = reduced(abs(x));
    const P half = scaled(small_expm1(r) + P(T(1)), n - P(T(1)));
    return half + P(T(0.25)) / half;
  }
  static P tanh(const P& x) {
    const P a = abs(x);
    const P t = expm1(P(T(2)) * at_most(a, F::kOne));
    return (t / (t + P(T(2)))) | sign_of(x);
  }

  // e^-|x| = m 2^n, 2^n for `lowered`, and 1 / (1 + e^-|x|).
  struct Logistic {
    P m, power, at_abs;
  };
  static Logistic logistic(const P& x) {
    const auto [n, r] = reduced_within(at_least(x | P(T(-0.0)), F::kExpLow));
    const P m = small_expm1(r) + P(T(1));
    const P power = lowering(n);
    return {m, power, P(T(1)) / (P(T(1)) + lowered(m, power))};
  }
  static P sigmoid(const P& x) {
    const auto [m, power, at_abs] = logistic(x);
    return select(x < P(T(0)), lowered(m * at_abs, power), at_abs);
  }
  static P silu(const P& x) {
    const auto [m, power, at_abs] = logistic(x);
    const P low = at_least(x, F::kExpLow);  // not infinity times 0
    return select(x < P(T(0)), lowered(low * (m * at_abs), power), x * at_abs);
  }
  static P softplus(const P& x) { return select(x < P(T(0)), P(T(0)), x) + log1p(exp(abs(x) | P(T(-0.0)))); }

  // --- logarithms ----------------------------------------------------------------------------------------------------

  // x = 2^k (1 + f), 1 + f from sqrt(1/2) to sqrt(2), x normal.
  struct Split {
    P k, m;
  };
  static Split split(const P& x) {
    constexpr T root = T(0.70710678118654752440L);
    constexpr Bits one = std::bit_cast<Bits>(T(1));
    constexpr Bits low = std::bit_cast<Bits>(root);
    const U shifted = bits(x) + U(one - low);
    const T big = static_cast<T>(Bits{1} << F::kMantissa);
    const P k = real((shifted >> F::kMantissa) | U(std::bit_cast<Bits>(big))) - P(big + F::kBias);
    return {k, real((shifted & U((Bits{1} << F::kMantissa) - 1)) + U(low))};
  }
  // k ln 2 + log(1 + f) + c
  static P log_of(const P& k, const P& f, const P& c) {
    static constexpr auto kSeries = atanh_series<F::kLogTerms>(3);
    const P s = f / (P(T(2)) + f);
    const P z = s * s;
    const P half = P(T(0.5)) * f * f;
    const P rest = s * (half + z * polynomial(z, kSeries)) + (k * P(F::kLn2Low) + c);
    return k * P(F::kLn2High) - ((half - rest) - f);
  }
  // y where x is a positive number, else what a logarithm with its pole at 0 is.
  static P where_positive(const P& x, const P& y) {
    const P other = select(x == P(T(0)), P(-kInf), select(x < P(T(0)), P(kNan), x));
    return select((x > P(T(0))) & (x < P(kInf)), y, other);
  }

  static P log(const P& x) {
    const M tiny = x < P(std::numeric_limits<T>::min());
    constexpr T up = static_cast<T>(Bits{1} << (F::kMantissa + 2));
    const auto [k, m] = split(select(tiny, x * P(up), x));
    const P y = log_of(select(tiny, k - P(T(F::kMantissa + 2)), k), m - P(T(1)), P(T(0)));
    return where_positive(x, y);
  }
  static P log1p(const P& x) {
    const P u = P(T(1)) + x;
    const auto [k, m] = split(u);
    const M near = k == P(T(0));
    // What the sum lost, relative to it.
    const P lost = select(x < P(T(1)), x - (u - P(T(1))), P(T(1)) - (u - x)) / u;
    const P y = log_of(k, select(near, x, m - P(T(1))), select(near | (u == P(kInf)), P(T(0)), lost));
    return select(x == P(T(0)), x, where_positive(u, y));
  }

  // --- angles --------------------------------------------------------------------------------------------------------

  // Sine and cosine of |x| less n quarter turns, and n.
  struct Turned {
    P sin, cos;
    U n;
  };
  static Turned turned(const P& a) {
    static constexpr auto kSin = factorials<F::kSinTerms>(3, 2);
    static constexpr auto kCos = factorials<F::kCosTerms>(4, 2);
    const P t = a * P(T(0.63661977236758134308L)) + P(kMagic);
    const P n = t - P(kMagic);
    P r = a;
    for (const T part : F::kHalfPi) r = r - n * P(part);
    const P z = r * r;
    const P half = P(T(0.5)) * z;
    const P whole = P(T(1)) - half;
    return {r + r * z * polynomial(z, kSin), whole + ((P(T(1)) - whole) - half + z * z * polynomial(z, kCos)), bits(t)};
  }
  // Where n is odd; and the sign bit where n / 2 is.
  static M odd(const U& n) { return real((n & U(Bits{1})) << F::kMantissa) > P(T(0)); }
  static P second_bit(const U& n) { return real((n & U(Bits{2})) << (static_cast<int>(8 * sizeof(T)) - 2)); }

  static P sin(const P& x) {
    const Turned t = turned(abs(x));
    const P y = select(odd(t.n), t.cos, t.sin) ^ second_bit(t.n) ^ sign_of(x);
    return Own::or_by_library(x, y, F::kAngle, [](T v) {
      if constexpr (sizeof(T) == 4) {
        return ::sinf(v);
      } else {
        return ::sin(v);
      }
    });
  }
  static P cos(const P& x) {
    const Turned t = turned(abs(x));
    const P y = select(odd(t.n), t.sin, t.cos) ^ second_bit(t.n + U(Bits{1}));
    return Own::or_by_library(x, y, F::kAngle, [](T v) {
      if constexpr (sizeof(T) == 4) {
        return ::cosf(v);
      } else {
        return ::cos(v);
      }
    });
  }
  static P tan(const P& x) {
    const Turned t = turned(abs(x));
    const M turn = odd(t.n);
    const P y = select(turn, negate(t.cos), t.sin) / select(turn, t.sin, t.cos);
    return Own::or_by_library(x, y ^ sign_of(x), F::kAngle, [](T v) {
      if constexpr (sizeof(T) == 4) {
        return ::tanf(v);
      } else {
        return ::tan(v);
      }
    });
  }
  static P atan(const P& x) {
    const P a = abs(x);
    const M high = a > P(T(2.41421356237309504880L));
    const M middle = a > P(T(0.41421356237309504880L));
    const P one(T(1));
    const P t = select(high, -one, select(middle, a - one, a)) / select(high, a, select(middle, a + one, one));
    constexpr long double half_pi = 1.57079632679489661923L;
    constexpr T quarter = T(half_pi / 2);
    constexpr T low = T(half_pi / 2 - static_cast<long double>(quarter));
    const P z = t * t;
    const P y = t + (t * z * polynomial(z, F::kAtan) + select(high, P(2 * low), select(middle, P(low), P(T(0)))));
    return (select(high, P(2 * quarter), select(middle, P(quarter), P(T(0)))) + y) | sign_of(x);
  }

  // --- the normal distribution ---------------------------------------------------------------------------------------

  // e^(t^2/2) times the probability beyond t >= 0 falls from 1/2 as slowly as 1/t: a ratio.
  struct Ratio {
    P over, under;
  };
  static Ratio tail_ratio(const P& t) {
    const P z = t * t;
    return {polynomial(t, z, F::kTailOver), polynomial(t, z, F::kTailUnder)};
  }
  static P erf(const P& x) {
    static constexpr auto kSeries = [] {  // erf(x) = x + x (c0 + c1 x^2 + ...)
      std::array<T, F::kErfTerms> c{};
      const long double scale = 1.12837916709551257390L;
      long double term = 1;
      for (std::size_t i = 0; i < c.size(); ++i) {
        if (i > 0) term /= -static_cast<long double>(i);
        c[i] = static_cast<T>(scale * term / static_cast<long double>(2 * i + 1) - (i == 0 ? 1 : 0));
      }
      return c;
    }();
    P a = abs(x);
    const P near = a + a * polynomial(a * a, kSeries);
    const M small = a < P(T(1));
    a = at_most(a, F::kTail);
    const auto [over, under] = tail_ratio(a * P(T(1.41421356237309504880L)));
    const P far = P(T(1)) - P(T(2)) * exp(negate(a * a)) * over / under;
    return select(small, near, far) | sign_of(x);
  }
  // What the functions of the normal distribution share: the probability beyond a is `beyond` times `power`, the
  // density at a `half` times `power` over sqrt(2 pi). Once, where a formula has several of them.
  struct Normal {
    P a;      // |x|, so far out at most that all is 0 from there on
    P half;   // e^(-a^2/2), but for a power of two
    P power;  // that one; where it is no normal number, its bits are those of 0
  };
  static Normal normal(const P& x) {
    const P a = at_most(abs(x), F::kTail);
    // a = high + low with a high part whose square is exact: the exponent of a tail needs more bits than a square has.
    const P high = real(bits(a) & U(~((Bits{1} << (F::kMantissa / 2 + 1)) - 1)));
    const P low = a - high;
    const P square = high * high;
    // e^(-a^2/2) = 2^n e^(-w/2)
    constexpr T bias = kMagic + F::kBias;
    const P biased = square * P(T(-0.5L * 1.4426950408889634L)) + P(bias);
    const P n = biased - P(bias);
    const P w = square + n * P(2 * F::kLn2High) + n * P(2 * F::kLn2Low) + low * (a + high);
    return {a, polynomial(w, F::kHalfExp), real(bits(biased) << F::kMantissa)};
  }
  static P beyond(const Normal& at) {
    const auto [over, under] = tail_ratio(at.a);
    return at.half * over / under;
  }
  static P normal_pdf(const P& x) {
    const Normal at = normal(x);
    return P(T(0.39894228040143267794L)) * at.half * at.power;
  }
  static P normal_cdf(const P& x) {
    const Normal at = normal(x);
    const P tail = beyond(at) * at.power;
    return select(x < P(T(0)), tail, P(T(1)) - tail);
  }
  static P gelu(const P& x) {
    const Normal at = normal(x);
    return at_least(x, T(-0.0)) - at.a * beyond(at) * at.power;
  }

  // --- powers --------------------------------------------------------------------------------------------------------

  // A number in two parts.
  struct Double {
    P high, low;
  };
  static Double two_sum(const P& a, const P& b) {
    const P s = a + b;
    const P t = s - a;
    return {s, (a - (s - t)) + (b - t)};
  }
  static Double two_product(const P& a, const P& b) {
    const P p = a * b;
    const U mask(~((Bits{1} << (F::kMantissa / 2 + 1)) - 1));
    const P ah = real(bits(a) & mask), bh = real(bits(b) & mask);
    const P al = a - ah, bl = b - bh;
    return {p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
  }
  // a^y for a finite positive a and a finite y, in double.
  static P power_in_parts(const P& a, P y) {
    const M tiny = a < P(std::numeric_limits<T>::min());
    constexpr T up = static_cast<T>(Bits{1} << (F::kMantissa + 2));
    const auto [k0, m] = split(select(tiny, a * P(up), a));
    const P k = select(tiny, k0 - P(T(F::kMantissa + 2)), k0);
    // log m = 2 s + (2/3) s^3 + ..., s = (m - 1) / (m + 1)
    const P one(T(1));
    const P f = m - one;
    const P d = m + one;
    const P s = f / d;
    const Double product = two_product(s, d);
    const P s_low = (((f - product.high) - product.low) - s * (m - (d - one))) / d;
    static constexpr auto kSeries = atanh_series<F::kLogTerms>(5);
    Double z = two_product(s, s);
    z.low = z.low + P(T(2)) * s * s_low;
    constexpr T third = T(2.0L / 3);
    const P q = z.high * polynomial(z.high, kSeries);
    Double c = two_sum(P(third), q);
    c.low = c.low + P(T(2.0L / 3 - static_cast<long double>(third)));
    Double w = two_product(z.high, c.high);
    w.low = w.low + (z.high * c.low + z.low * c.high);
    Double v = two_product(s, w.high);
    v.low = v.low + (s * w.low + s_low * w.high);
    const Double first = two_sum(k * P(F::kLn2High), P(T(2)) * s);
    const Double second = two_sum(first.high, v.high);
    const P log_low = first.low + second.low + (P(T(2)) * s_low + v.low + k * P(F::kLn2Low));
    const Double log = two_sum(second.high, log_low);
    // Far beyond where the power is a number, and small enough for products in parts.
    const P limit(static_cast<T>(Bits{1} << 62) * T(256));
    y = select(y > limit, limit, select(y < -limit, -limit, y));
    Double e = two_product(y, log.high);
    e.low = e.low + y * log.low;
    const P e_low = select(abs(e.high) > P(T(2000)), P(T(0)), e.low);
    const auto [n, r] = reduced(e.high);
    return scaled(small_expm1(r + e_low) + one, n);
  }
  // a^y to 2^-30 and better, of doubles that were floats, a > 0: what is left is exact enough to round to a float, and
  // no step leaves the range of doubles.
  static P power_for_float(const P& a, const P& y) {
    static constexpr auto kLog = atanh_series<6>(3);
    static constexpr auto kExp = factorials<7>(2, 1);
    const auto [k, m] = split(a);
    const P s = (m - P(T(1))) / (m + P(T(1)));
    const P z = s * s;
    const P log = k * P(T(0.69314718055994530942L)) + s * (P(T(2)) + z * polynomial(z, kLog));
    const P t = at_least(at_most(y * log, 100), -110);  // the largest float is e^88.7, the smallest e^-103.3
    const P n = nearest(t * P(T(1.4426950408889634L)));
    const P r = t - n * P(T(0.69314718055994530942L));
    return (P(T(1)) + (r + r * r * polynomial(r, kExp))) * power_of_two(n);
  }
  static P pow(const P& x, const P& y) {
    const P one(T(1)), zero(T(0));
    const P a = abs(x);
    P power;
    if constexpr (sizeof(T) == 4) {  // doubles have bits to spare
      const auto [a0, a1] = Own::widened(a);
      const auto [y0, y1] = Own::widened(y);
      using D = PackMath<typename Own::Wide>;
      power = Own::narrowed(D::power_for_float(a0, y0), D::power_for_float(a1, y1));
    } else {
      power = power_in_parts(a, y);
    }
    const M grows = ((a > one) & (y > zero)) | ((a < one) & (y < zero));
    const M at_end = (a == zero) | (a == P(kInf)) | (abs(y) == P(kInf));
    power = select(at_end, select(grows, P(kInf), zero), power);
    const M integer = trunc(y) == y;
    const P half = y * P(T(0.5));
    const M odd = integer & !(trunc(half) == half);
    power = select(odd, power | sign_of(x), power);
    power = select((x < zero) & (a < P(kInf)) & !integer, P(kNan), power);
    power = select(a == one, select((x > zero) | !odd, select(integer | (x > zero), one, P(kNan)), -one), power);
    power = select(is_nan(x) | is_nan(y), x + y, power);
    return select((y == zero) | (x == one), one, power);
  }
};

/// Packs of integers have no fractions.
template <Packed Pack>
requires std::is_integral_v<typename Pack::value_type>
struct PackMath<Pack> {
  static Pack abs(const Pack& x) {
    const Pack zero(typename Pack::value_type(0));
    return select(x < zero, -x, x);
  }
};

}  // namespace ebb::lane
