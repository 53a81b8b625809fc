#include <ebb/ops/random/random.h>

#include <ebb/engine/random/philox.h>
#include <ebb/engine/threads/pool.h>
#include <ebb/ops/elementwise/elementwise.h>
#include <ebb/ops/random/philox.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

namespace ebb {

namespace base {
void philox_blocks(std::uint64_t key, std::uint64_t stream, std::uint64_t first, PhiloxWords words);
}
namespace avx2 {
void philox_blocks(std::uint64_t key, std::uint64_t stream, std::uint64_t first, PhiloxWords words);
}
namespace avx512 {
void philox_blocks(std::uint64_t key, std::uint64_t stream, std::uint64_t first, PhiloxWords words);
}

namespace {

// A batch of kPhiloxBlocks blocks holds four words of 32 bits each, or two of 64.
void run_random_bits(KernelCall& call) {
  constexpr std::array<PhiloxLanes, kIsaCount> kLanes{base::philox_blocks, avx2::philox_blocks, avx512::philox_blocks};
  const PhiloxLanes lanes = kLanes[static_cast<std::size_t>(active_isa())];
  const auto key = static_cast<std::uint64_t>(*call.data<std::int64_t>(0));
  const auto stream = static_cast<std::uint64_t>(*call.data<std::int64_t>(1));
  const std::int64_t bits = call.attrs.integer("bits");
  std::int64_t* const out = call.allocate<std::int64_t>();
  const std::int64_t total = call.out.numel();
  const std::int64_t per_batch = bits <= 32 ? 4 * kPhiloxBlocks : 2 * kPhiloxBlocks;
  constexpr std::int64_t kBatchesPerTask = 32;
  const std::int64_t batches = (total + per_batch - 1) / per_batch;
  parallel_for((batches + kBatchesPerTask - 1) / kBatchesPerTask, [&](std::int64_t begin, std::int64_t end) {
    std::uint32_t words[4][kPhiloxBlocks];
    std::int64_t batch_out[4 * kPhiloxBlocks];
    for (std::int64_t b = begin * kBatchesPerTask; b < std::min(batches, end * kBatchesPerTask); ++b) {
      lanes(key, stream, static_cast<std::uint64_t>(b * kPhiloxBlocks), words);
      const bool whole = (b + 1) * per_batch <= total;
      std::int64_t* const to = whole ? out + b * per_batch : batch_out;
      for (std::int64_t i = 0; i < kPhiloxBlocks; ++i) {
        if (bits <= 32) {
          for (std::int64_t w = 0; w < 4; ++w) to[4 * i + w] = words[w][i] >> (32 - bits);
        } else {
          to[2 * i] = static_cast<std::int64_t>((std::uint64_t{words[1][i]} << 32 | words[0][i]) >> (64 - bits));
          to[2 * i + 1] = static_cast<std::int64_t>((std::uint64_t{words[3][i]} << 32 | words[2][i]) >> (64 - bits));
        }
      }
      if (!whole) std::copy_n(batch_out, total - b * per_batch, out + b * per_batch);
    }
  });
}

const Row kRandomBits{
    .name = "random_bits",
    .arity = 2,
    .type =
        [](const Call& call) {
          for (std::size_t i = 0; i < 2; ++i) {
            call.require_dtype(i, DType::i64);
            if (call.shape(i).rank() != 0) {
              call.fail_shape(fmt::format("{} must be a scalar", i == 0 ? "the key" : "the counter"));
            }
          }
          const std::int64_t bits = call.attrs().integer("bits");
          if (bits < 1 || bits > 63) call.fail_usage(fmt::format("bits must be in 1 .. 63, got {}", bits));
          return TensorType{call.attrs().list("shape").shape(), DType::i64};
        },
    .vjp = kNoGrad("random bits have no slope"),
    .kernel = run_random_bits,
    .ulp = 0,
    .examples =
        [] {
          const auto draw = [](Shape shape, std::int64_t bits) {
            return Example{{{{}, DType::i64, 1000}, {{}, DType::i64, 1000}},
                           {{"shape", IntList(shape)}, {"bits", bits}}};
          };
          return std::vector<Example>{draw({}, 1),  draw({3, 4}, 24), draw({1000}, 32),
                                      draw({0}, 8), draw({2, 5}, 53), draw({90, 100}, 63)};
        },
};

double quantile(double p) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  if (p > 0 && p < 1) return normal_quantile(p);
  return p == 0 ? -kInf : p == 1 ? kInf : std::numeric_limits<double>::quiet_NaN();
}

const Row kNormalQuantile{
    .name = "normal_quantile",
    .kind = Kind::elementwise,
    .type =
        [](const Call& call) {
          call.require_floating(0);
          return TensorType{call.shape(0), call.dtype(0)};
        },
    .vjp = [](const Vjp& g) { return g.ct * (exp(square(g.out) * 0.5) * 2.5066282746310005024); },  // sqrt(2 pi)
    .kernel =
        [](KernelCall& call) {
          constexpr std::int64_t kGrain = 1024;
          with_type(call.out.dtype(), [&]<class T>(std::type_identity<T>) {
            const T* const p = call.data<T>(0);
            T* const out = call.allocate<T>();
            const std::int64_t n = call.out.numel();
            parallel_for((n + kGrain - 1) / kGrain, [&](std::int64_t begin, std::int64_t end) {
              for (std::int64_t i = begin * kGrain; i < std::min(n, end * kGrain); ++i) {
                out[i] = static_cast<T>(quantile(static_cast<double>(p[i])));
              }
            });
          });
        },
    .domain = {0.001, 0.999, 0.5, 0.01},
    .ulp = 16,
    .examples =
        [] {
          return std::vector<Example>{{{{{3, 4}}}, {}}, {{{{}}}, {}}, {{{{5000}}}, {}}};
        },
};

// The stream of the next draw; the one after it has the next number.
Var next(Tape& tape, const Generator& generator, const Shape& shape, int bits, Location where) {
  const Var counter = tape.read(generator.counter, where);
  const Var out = random_bits(tape.read(generator.key, where), counter, shape, bits);
  tape.update(generator.counter, counter + 1, where);
  return out;
}

void require_floating(const char* op, DType dtype, Location where) {
  if (is_floating(dtype)) return;
  throw DTypeError(fmt::format("{}: needs a floating type, not {}. ({})", op, name(dtype), to_string(where)));
}

}  // namespace

Var random_bits(const Operand& key, const Operand& counter, const Shape& shape, int bits) {
  return key.tape().record(kRandomBits, {key, counter}, {{"shape", IntList(shape)}, {"bits", std::int64_t{bits}}});
}

Var normal_quantile(const Operand& p) { return p.tape().record(kNormalQuantile, {p}); }

Generator::Generator(std::uint64_t seed, std::string_view name)
    : key(std::string(name) + ".key", Tensor::of<std::int64_t>({}, {static_cast<std::int64_t>(seed)})),
      counter(std::string(name) + ".counter", Tensor::zeros({}, DType::i64)) {}

Var uniform(Tape& tape, const Generator& generator, const Shape& shape, const UniformOptions& options, Location where) {
  require_floating("uniform", options.dtype, where);
  if (!(options.lo <= options.hi) || !std::isfinite(options.lo) || !std::isfinite(options.hi)) {
    throw UsageError(fmt::format("uniform: lo must not exceed hi and both must be finite, got {} and {}. ({})",
                                 options.lo, options.hi, to_string(where)));
  }
  const bool narrow = options.dtype == DType::f32;
  const double most = narrow ? std::numeric_limits<float>::max() : std::numeric_limits<double>::max();
  if (!(options.hi - options.lo <= most) || std::fabs(options.lo) > most || std::fabs(options.hi) > most) {
    throw UsageError(fmt::format("uniform: the range from {} to {} is too wide for {}. ({})", options.lo, options.hi,
                                 name(options.dtype), to_string(where)));
  }
  const auto scope = tape.scope("uniform", where);
  const int bits = narrow ? 24 : 53;
  const Var unit = cast(next(tape, generator, shape, bits, where), options.dtype) * std::ldexp(1.0, -bits);
  if (options.lo == 0 && options.hi == 1) return unit;
  const Var x = unit * (options.hi - options.lo) + options.lo;
  // The sum may round up to hi, which is outside.
  const double below =
      narrow ? static_cast<double>(std::nextafter(static_cast<float>(options.hi), static_cast<float>(options.lo)))
             : std::nextafter(options.hi, options.lo);
  return ebb::where(less(x, options.hi), x, below);
}

Var normal(Tape& tape, const Generator& generator, const Shape& shape, const NormalOptions& options, Location where) {
  require_floating("normal", options.dtype, where);
  if (!std::isfinite(options.mean) || !std::isfinite(options.deviation) || options.deviation < 0) {
    throw UsageError(
        fmt::format("normal: mean and deviation must be finite, the deviation not negative, got {} and {}. "
                    "({})",
                    options.mean, options.deviation, to_string(where)));
  }
  const auto scope = tape.scope("normal", where);
  const int bits = options.dtype == DType::f32 ? 32 : 52;
  // The middle of one of 2^bits equal cells, so that neither 0 nor 1 comes up.
  const Var p = (cast(next(tape, generator, shape, bits, where), DType::f64) + 0.5) * std::ldexp(1.0, -bits);
  const Var x = cast(normal_quantile(p), options.dtype);
  if (options.mean == 0 && options.deviation == 1) return x;
  return x * options.deviation + options.mean;
}

Var bernoulli(Tape& tape, const Generator& generator, const Shape& shape, double p, Location where) {
  if (!(p >= 0 && p <= 1)) {
    throw UsageError(fmt::format("bernoulli: p must be in [0, 1], got {}. ({})", p, to_string(where)));
  }
  const auto scope = tape.scope("bernoulli", where);
  return less(uniform(tape, generator, shape, {.dtype = DType::f64}, where), p);
}

std::span<const Row* const> random_rows() {
  static const std::array<const Row*, 2> rows{&kRandomBits, &kNormalQuantile};
  return rows;
}

}  // namespace ebb
