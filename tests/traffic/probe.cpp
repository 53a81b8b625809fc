// A program, run as often as asked, after it has said how many bytes explain() counts for a run: what
// tests/traffic/check holds against a cache simulator's count.
#include <ebb/ebb.h>
#include <fmt/format.h>

#include <cstdlib>
#include <functional>
#include <map>
#include <sstream>
#include <string>

#include "tests/support/wave.h"

namespace ebb::test {
namespace {

using Function = std::function<Vars(std::span<const Var>)>;

// x, gamma, beta, dout
Vars norm_step(std::span<const Var> in) {
  const Var out = batch_norm(in[0], in[1], in[2]);
  Vars results = pullback(out, in[3], {in[0], in[1], in[2]});
  results.push_back(out);
  return results;
}

// Along the last axis, with an exp in it.
Vars softmax_step(std::span<const Var> in) {
  const Var out = softmax(in[0] * in[3], -1);
  return {out, pullback(out, in[3], in[0])};
}

Shape parse(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::int64_t> sizes;
  for (std::string part; std::getline(in, part, 'x');) sizes.push_back(std::stoll(part));
  return Shape(std::span<const std::int64_t>(sizes));
}

int run(const std::string& model, const std::string& text, int runs) {
  const std::map<std::string, Function> models{{"norm_step", norm_step}, {"softmax_step", softmax_step}};
  const Shape shape = parse(text);
  const Shape channels{shape[1]};
  const std::vector<Tensor> inputs{wave(shape, {.phase = 0}), wave(channels, {.phase = 1}),
                                   wave(channels, {.phase = 2}), wave(shape, {.phase = 3})};
  set_threads(1);
  auto program = compile(models.at(model));
  for (int i = 0; i < runs; ++i) program(std::span<const Tensor>(inputs));
  fmt::print("bytes {}\n", explain(program.program()).bytes());
  return 0;
}

}  // namespace
}  // namespace ebb::test

int main(int argc, char** argv) {
  if (argc != 4) {
    fmt::print(stderr, "usage: {} norm_step|softmax_step <shape> <runs>\n", argv[0]);
    return 2;
  }
  try {
    return ebb::test::run(argv[1], argv[2], std::atoi(argv[3]));
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
