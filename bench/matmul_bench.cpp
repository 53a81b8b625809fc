// Matrix products against their peers: square ones against OpenBLAS called directly, batches of small ones against
// libtorch.
//
// Ebb is measured as a user calls it: matmul on a tape, recorded, computed and rewound. Each result is checked against
// a product in double first. Ebb and its peer take turns within one process (peers/timing.h); times are medians of the
// rounds, and a ratio above 1 means that Ebb is faster.
#include <ebb/ebb.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "bench/peers/gemm.h"
#include "bench/peers/timing.h"

namespace ebb::bench {
namespace {

struct Options {
  std::vector<int> threads{1, 2};
  int rounds = 9;
};

std::vector<float> random_values(std::int64_t n, unsigned seed) {
  std::mt19937 bits(seed);
  std::vector<float> out(static_cast<std::size_t>(n));
  for (float& v : out) v = std::uniform_real_distribution<float>(-1, 1)(bits);
  return out;
}

// The largest error relative to |a| @ |b|, on every element, or on a sample of a large product's.
double error_of(const Product& p, const std::vector<float>& a, const std::vector<float>& b, const float* out) {
  double worst = 0;
  const std::int64_t total = p.batch * p.m * p.n;
  const std::int64_t step = std::max<std::int64_t>(1, total / 20000) | 1;
  for (std::int64_t i = 0; i < total; i += step) {
    const std::int64_t batch = i / (p.m * p.n), row = i / p.n % p.m, column = i % p.n;
    double want = 0, scale = 0;
    for (std::int64_t k = 0; k < p.k; ++k) {
      const double product = static_cast<double>(a[static_cast<std::size_t>((batch * p.m + row) * p.k + k)]) *
                             static_cast<double>(b[static_cast<std::size_t>((batch * p.k + k) * p.n + column)]);
      want += product;
      scale += std::abs(product);
    }
    worst = std::max(worst, std::abs(static_cast<double>(out[i]) - want) / scale);
  }
  return worst;
}

// One line of a table, and a cell of the bar.
void row(const Product& p, const std::string& peer_name, int threads, int rounds, Bar& bar) {
  const auto a = random_values(p.batch * p.m * p.k, 1);
  const auto b = random_values(p.batch * p.k * p.n, 2);
  std::vector<float> out(static_cast<std::size_t>(p.batch * p.m * p.n));
  set_threads(threads);
  Tape tape;
  const auto leaf = [&](const std::vector<float>& values, std::int64_t rows, std::int64_t columns) {
    const Tensor tensor = Tensor::from<float>({p.batch, rows, columns}, values);
    return tape.leaf(p.batch == 1 ? tensor.reshaped({rows, columns}) : tensor);
  };
  const Var x = leaf(a, p.m, p.k);
  const Var y = leaf(b, p.k, p.n);
  const Tape::Mark mark = tape.mark();
  const auto ebb = [&] {
    matmul(x, y);
    tape.rewind(mark);
  };
  std::function<void()> peer = [&] { openblas_matmul(p, a.data(), b.data(), out.data(), threads); };
#if EBB_BENCH_LIBTORCH
  LibtorchMatmul libtorch(p, a.data(), b.data(), threads);
  if (peer_name == "libtorch") {
    libtorch.run(out.data());
    peer = [&] { libtorch.run(nullptr); };
  }
#endif
  peer();
  const double bound = static_cast<double>(p.k) * 0x1p-23;
  const double error =
      std::max(error_of(p, a, b, matmul(x, y).value().data<float>().data()), error_of(p, a, b, out.data()));
  tape.rewind(mark);
  if (error > bound) throw std::runtime_error(fmt::format("a product is wrong by {:.1e} of |a| @ |b|", error));

  std::vector<double> my_times, their_times;
  for (int i = 0; i < rounds; ++i) {
    my_times.push_back(sample(ebb, threads > 1 ? kAfterBlas : kAfterOpenMp));
    their_times.push_back(sample(peer));
  }
  const double mine = median(my_times);
  const double theirs = median(their_times);
  const double ratio = median_ratio(their_times, my_times);
  const double flops = 2.0 * static_cast<double>(p.batch * p.m * p.n * p.k);
  const std::string what = p.batch == 1 ? fmt::format("[{}, {}] @ [{}, {}]", p.m, p.k, p.k, p.n)
                                        : fmt::format("{} x [{}, {}] @ [{}, {}]", p.batch, p.m, p.k, p.k, p.n);
  fmt::print("| {:30} | {:7} | {:9.1f} | {:8.1f} | {:8} | {:9.1f} | {:5.2f} |\n", what, threads, mine * 1e6,
             flops / mine * 1e-9, peer_name, theirs * 1e6, ratio);
  std::fflush(stdout);
  bar.add(fmt::format("{} on {}", what, threads), ratio);
}

int run(int argc, char** argv) {
  CLI::App app("Matrix products against OpenBLAS and libtorch");
  Options options;
  app.add_option("--threads", options.threads, "numbers of threads")->delimiter(',');
  app.add_option("--rounds", options.rounds, "rounds, of which medians are taken");
  CLI11_PARSE(app, argc, argv);

  const std::vector<Product> square{{1, 64, 64, 64},       {1, 96, 96, 96},      {1, 128, 128, 128}, {1, 192, 192, 192},
                                    {1, 256, 256, 256},    {1, 384, 384, 384},   {1, 512, 512, 512}, {1, 768, 768, 768},
                                    {1, 1000, 1000, 1000}, {1, 1024, 1024, 1024}};
  const std::vector<Product> batched{{1000, 4, 4, 4},  {1000, 8, 8, 8},   {256, 16, 16, 16},
                                     {64, 32, 64, 32}, {64, 64, 64, 64},  {96, 20, 32, 20},
                                     {512, 1, 64, 64}, {100, 10, 10, 10}, {8, 128, 64, 128}};
  Bar products, batches;

  for (const int threads : options.threads) {
    fmt::print(
        "\n| product                        | threads |  Ebb (us) | GFlop/s  | peer     | peer (us) | ratio |\n"
        "|--------------------------------|---------|-----------|----------|----------|-----------|-------|\n");
    for (const Product& p : square) row(p, "OpenBLAS", threads, options.rounds, products);
#if EBB_BENCH_LIBTORCH
    for (const Product& p : batched) row(p, "libtorch", threads, options.rounds, batches);
#else
    for (const Product& p : batched) row(p, "OpenBLAS", threads, options.rounds, batches);
#endif
  }
  std::puts("");
  products.print("one product, of OpenBLAS's speed", 0.95, 0.95);
  batches.print("a batch, of its peer's speed", 1, 1);
  return 0;
}

}  // namespace
}  // namespace ebb::bench

int main(int argc, char** argv) {
  try {
    return ebb::bench::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "matmul_bench: {}\n", error.what());
    return 1;
  }
}
