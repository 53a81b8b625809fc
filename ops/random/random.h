// Random numbers as ops. random_bits is a pure function of a key and a counter; everything else is made of it.
//
// The counter is a State that every draw moves on by one: two draws of a step differ, the next step draws new numbers,
// a recomputation of a recorded draw the same ones, and a checkpoint that holds the States goes on where it left off.
// Only integer arithmetic and + - * / sqrt are used, so every instruction set, compiler and number of threads gives the
// same bits.
#pragma once

#include <ebb/engine/row/structural.h>

#include <cstdint>
#include <span>
#include <string_view>

namespace ebb {

/// Random whole numbers in [0, 2^bits): Philox4x32-10 of the key, in the stream that the counter numbers. Element i is
/// made of word i of the stream, the same words that Random(key, counter) draws.
///
/// Shapes    key, counter i64 [] -> i64 of `shape`.
/// Gradient  none.
/// Throws    ShapeError unless key and counter are scalars; DTypeError unless they are i64; UsageError unless bits is
/// in
///           1 .. 63.
Var random_bits(const Operand& key, const Operand& counter, const Shape& shape, int bits);

/// x with Phi(x) = p: the quantile of the standard normal distribution; -inf at 0, inf at 1, NaN outside.
///
/// Gradient  dp = sqrt(2 pi) e^(x^2 / 2) ct
/// Throws    DTypeError unless floating.
/// Error     16 ulp of f64 (Wichura 1988, algorithm AS 241), 1 ulp of f32.
Var normal_quantile(const Operand& p);

/// A source of random numbers: a key that stays and a counter that moves.
struct Generator {
  explicit Generator(std::uint64_t seed, std::string_view name = "random");
  State key;
  State counter;
};

struct UniformOptions {
  double lo = 0;
  double hi = 1;
  DType dtype = DType::f32;
};

/// Numbers from [lo, hi), each as likely: 24 random bits in f32, 53 in f64.
///
/// Throws    DTypeError unless floating; UsageError unless lo <= hi, both are finite and the dtype holds hi - lo.
/// Example   uniform(tape, generator, {2, 3});   // -> f32[2, 3]
Var uniform(Tape& tape, const Generator& generator, const Shape& shape, const UniformOptions& options = {},
            Location where = Location::current());

struct NormalOptions {
  double mean = 0;
  double deviation = 1;
  DType dtype = DType::f32;
};

/// Normally distributed numbers: the quantiles of 32 random bits in f32, of 52 in f64.
///
/// Throws    DTypeError unless floating; UsageError unless mean and deviation are finite and deviation >= 0.
Var normal(Tape& tape, const Generator& generator, const Shape& shape, const NormalOptions& options = {},
           Location where = Location::current());

/// true with probability p, to 2^-53: the mask of a dropout is where(bernoulli(tape, generator, x.shape(), 1 - p),
/// ...).
///
/// Throws    UsageError unless 0 <= p <= 1.
Var bernoulli(Tape& tape, const Generator& generator, const Shape& shape, double p,
              Location where = Location::current());

std::span<const Row* const> random_rows();

}  // namespace ebb
