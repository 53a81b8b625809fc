// Random graphs from the table of rows. No row is named here: elementwise rows are fed values that are brought into
// their domain, reductions and scans get random axes, all others are called as their examples say.
//
// Of every graph: each value against the row's oracle; the same bits when every node is computed by itself, and with
// another number of threads; the same bits as a program; the slope and the slope of the slope along a random direction
// against differences; the verifier; a dump. Graphs of rows that promise the same bits on every instruction set are
// compared across them, by running this program again. EBB_SEED is the first graph's seed, EBB_GRAPHS their number; a
// failure prints both.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>

#include "tests/table/table.h"

namespace ebb::test {
namespace {

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

// The same on every instruction set: movements, sums and scans, and + - * / sqrt, whose error is half an ulp.
bool exact_everywhere(const Row& row) {
  return row.kind == Kind::elementwise
             ? !row.kernel && row.ulp <= 0.5
             : row.kind == Kind::reduction || row.kind == Kind::scan || row.kind == Kind::movement;
}

// A slope that is said to be none, as of detach, is not what differences give.
bool stops(const Row& row) {
  for (std::size_t i = 0; i < static_cast<std::size_t>(std::max(row.arity, 1)); ++i) {
    if (!row.vjp[i].differentiable() && row.vjp[i].reason().empty()) return true;
  }
  return false;
}

enum class Rows { all, exact };

class Graph {
 public:
  Graph(std::uint64_t seed, Rows which, bool large) : random_(seed), large_(large) {
    for (const Row* row : all_rows()) {
      if (row->kind == Kind::source || !callable(*row) || !has_oracle(*row) || stops(*row)) continue;
      if (which == Rows::exact && !exact_everywhere(*row)) continue;
      rows_.push_back(row);
    }
  }

  // Records some leaves and ops; returns the nodes of floating dtype that are worth looking at.
  std::vector<Var> record(Tape& tape) {
    tape_ = &tape;
    whole_ = large_ ? Shape{3 + random_.integer(3), 40, 50} : Shape{1 + random_.integer(3), 1 + random_.integer(4)};
    if (random_.integer(4) == 0) whole_ = Shape{whole_.numel()};
    for (int i = 0; i < 3; ++i) reals_.push_back(leaf(i == 0 ? whole_ : part_of(whole_)));
    for (std::int64_t ops = 3 + random_.integer(8); ops > 0; --ops) {
      const Row& row = *rows_[static_cast<std::size_t>(random_.integer(static_cast<std::int64_t>(rows_.size())))];
      const std::optional<Var> out = row.oracle ? elementwise(row) : from_example(row);
      if (!out) continue;
      if (out->dtype() == DType::f64 && out->numel() > 0) reals_.push_back(*out);
      if (out->dtype() == DType::boolean) conditions_.push_back(*out);
    }
    return reals_;
  }
  std::vector<Var> leaves() const { return leaves_; }

 private:
  template <class T>
  T& any(std::vector<T>& list) {
    return list[static_cast<std::size_t>(random_.integer(static_cast<std::int64_t>(list.size())))];
  }

  Var leaf(const Shape& shape) {
    Tensor t = Tensor::empty(shape, DType::f64);
    random_.fill_uniform(t, -1.5, 1.5);
    leaves_.push_back(tape_->leaf(t));
    return leaves_.back();
  }

  // Some axes of size 1, some of the leading ones gone.
  Shape part_of(const Shape& whole) {
    Shape out;
    for (int i = static_cast<int>(random_.integer(whole.rank())); i < whole.rank(); ++i) {
      out.push_back(random_.integer(2) == 0 ? 1 : whole[i]);
    }
    return out;
  }

  // v where it is, if it lies in the domain and away from its kink; otherwise bent into one side of it.
  Var into(const Domain& domain, const Var& v) {
    double lo = domain.lo;
    double hi = domain.hi;
    if (domain.margin > 0 && domain.kink + domain.margin > lo && domain.kink - domain.margin < hi) {
      const bool above =
          domain.kink + domain.margin < hi && (domain.kink - domain.margin <= lo || random_.integer(2) == 0);
      (above ? lo : hi) = domain.kink + (above ? domain.margin : -domain.margin);
    }
    bool inside = true;
    for (const double x : v.value().data<double>()) inside &= x >= lo && x <= hi;
    if (inside) return v;
    return v / sqrt(square(v) + 1.0) * ((hi - lo) / 2) + (hi + lo) / 2;
  }

  std::optional<Var> elementwise(const Row& row) {
    if (!row.lanes[0]->by_dtype[static_cast<std::size_t>(DType::f64)]) return std::nullopt;
    std::vector<Operand> in;
    std::optional<Shape> shape = Shape{};
    for (int k = 0; k < row.arity; ++k) {
      const bool condition = row.signature == Signature::select && k == 0;
      std::vector<Var>& from = condition && !conditions_.empty() ? conditions_ : reals_;
      Var v = any(from);
      // Something that broadcasts with the others; the first leaf and a scalar always do.
      for (int tries = 0; tries < 4 && !broadcast(*shape, v.shape()); ++tries) v = any(from);
      if (!broadcast(*shape, v.shape())) return std::nullopt;
      shape = broadcast(*shape, v.shape());
      if (condition && v.dtype() != DType::boolean) v = v > 0.0;
      in.emplace_back(condition ? v : into(row.domain, v));
    }
    return tape_->record(row, in);
  }

  // A value of this shape that depends on what there is.
  Var shaped(const Shape& shape) {
    const Var v = any(reals_);
    if (v.numel() == shape.numel()) return reshape(v, shape);
    if (broadcasts_to(v.shape(), shape)) return broadcast_to(v, shape);
    return leaf(shape) * mean(v);
  }

  std::optional<Var> from_example(const Row& row) {
    const std::vector<Example> examples = row.examples();
    Example example = examples[static_cast<std::size_t>(random_.integer(static_cast<std::int64_t>(examples.size())))];
    // Reductions and scans take any shape.
    if ((row.kind == Kind::reduction || row.kind == Kind::scan) && random_.integer(4) != 0) {
      const Var& v = any(reals_);
      if (v.rank() == 0) return std::nullopt;
      for (Example::Input& in : example.inputs) in.shape = v.shape();
      for (Attr& attr : example.attrs) {
        if (attr.name == "axis") attr.value = random_.integer(v.rank());
        if (std::holds_alternative<bool>(attr.value)) attr.value = random_.integer(2) == 0;
        if (attr.name != "axes") continue;
        IntList axes;
        for (int i = 0; i < v.rank(); ++i) {
          if (random_.integer(2) == 0) axes.push_back(i);
        }
        attr.value = axes;
      }
    }
    std::vector<Operand> in;
    for (const Example::Input& input : example.inputs) {
      if (input.shape.numel() > (large_ ? 40000 : 64)) return std::nullopt;
      if (is_floating(input.dtype)) {
        in.emplace_back(into(row.domain, shaped(input.shape)));
        continue;
      }
      Tensor t = Tensor::zeros(input.shape, input.dtype);
      const std::int64_t limit = input.dtype == DType::boolean ? 2 : std::max<std::int64_t>(input.limit, 1);
      with_type(input.dtype, [&]<class T>(std::type_identity<T>) {
        for (T& x : t.mutable_data<T>()) x = static_cast<T>(random_.integer(limit));
      });
      in.emplace_back(tape_->leaf(t));
    }
    return tape_->record(row, in, example.attrs);
  }

  Random random_;
  bool large_;
  std::vector<const Row*> rows_;
  Tape* tape_ = nullptr;
  Shape whole_;
  std::vector<Var> leaves_;
  std::vector<Var> reals_;
  std::vector<Var> conditions_;
};

// Records every node of `from` again, with leaf(id) for its leaves.
template <class Leaf>
std::vector<Var> replay_with(const Tape& from, Tape& to, Leaf&& leaf, bool one_by_one = false) {
  std::vector<Var> out;
  for (NodeId id = 0; id < from.size(); ++id) {
    const Node& node = from.node(id);
    if (node.row == &kConstant) {
      out.push_back(to.constant(Attrs(node.attrs).real("value"), node.value.dtype()));
    } else if (node.row == &kLeaf) {
      out.push_back(leaf(id));
    } else {
      std::vector<Operand> in;
      for (std::size_t i = 0; i < node.inputs; ++i) in.emplace_back(out[from.input(node, i)]);
      out.push_back(to.record(*node.row, in, node.attrs));
    }
    if (one_by_one) out.back().value();
  }
  return out;
}

// The same with the leaves' values; leaf number i of `moved` is replaced.
std::vector<Var> replay(const Tape& from, Tape& to, const std::vector<Var>& moved = {},
                        const std::vector<Tensor>& values = {}, bool one_by_one = false) {
  const auto leaf = [&](NodeId id) {
    for (std::size_t i = 0; i < moved.size(); ++i) {
      if (moved[i].id() == id) return to.leaf(values[i]);
    }
    return to.leaf(from.node(id).value);
  };
  return replay_with(from, to, leaf, one_by_one);
}

void expect_same_bits(const Tape& a, const std::vector<Var>& b, const char* how) {
  for (NodeId id = 0; id < a.size(); ++id) {
    ASSERT_TRUE(identical(a.value(id), b[id].value())) << how << ": %" << id << " " << a.node(id).row->name;
  }
}

// The whole tape, gradients and all, as a program: what some of its nodes are has the bits of the tape.
void expect_same_program(const Tape& tape, std::uint64_t seed) {
  Random random(seed, 4);
  std::vector<Tensor> leaves;
  std::vector<NodeId> wanted;
  for (NodeId id = 0; id < tape.size(); ++id) {
    if (tape.node(id).row == &kLeaf) {
      leaves.push_back(tape.value(id));
    } else if (id + 1 == tape.size() || random.integer(8) == 0) {
      wanted.push_back(id);
    }
  }
  const auto function = [&](std::span<const Var> in) {
    std::size_t next = 0;
    const std::vector<Var> nodes = replay_with(tape, in[0].tape(), [&](NodeId) { return in[next++]; });
    Vars out;
    for (const NodeId id : wanted) out.push_back(nodes[id]);
    return out;
  };
  auto program = compile(function, {.setting = Setting::exact});
  for (int run = 0; run < 2; ++run) {
    const Tensors got = program(std::span<const Tensor>(leaves));
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      ASSERT_TRUE(identical(tape.value(wanted[i]), got[i]))
          << "compiled, run " << run << ": %" << wanted[i] << " " << tape.node(wanted[i]).row->name;
    }
  }
}

void expect_oracles(const Tape& tape) {
  for (NodeId id = 0; id < tape.size(); ++id) {
    const Node& node = tape.node(id);
    if (!callable(*node.row) || !has_oracle(*node.row)) continue;
    RowSample sample{node.row, {}, {node.attrs.begin(), node.attrs.end()}, {}};
    std::vector<Dense> inputs;
    for (std::size_t i = 0; i < node.inputs; ++i) {
      sample.inputs.push_back(tape.value(tape.input(node, i)));
      inputs.push_back(Dense::of(sample.inputs.back()));
    }
    const Expected want = expected(sample, inputs);
    const Dense got = Dense::of(tape.value(id));
    ASSERT_EQ(got.shape, want.value.shape) << "%" << id << " " << node.row->name;
    const DType dtype = node.value.dtype();
    for (std::size_t i = 0; i < got.at.size(); ++i) {
      const bool right = is_floating(dtype) ? within_ulp(static_cast<double>(got.at[i]), want.value.at[i],
                                                         want.scale[i], node.row->ulp, dtype)
                                            : got.at[i] == want.value.at[i];
      ASSERT_TRUE(right) << "%" << id << " " << node.row->name << ", element " << i << " is "
                         << static_cast<double>(got.at[i]) << ", should be " << static_cast<double>(want.value.at[i]);
    }
  }
}

// A weighted sum of what the graph computes, to which every leaf contributes.
Var loss_of(Tape& tape, const std::vector<Var>& values, const std::vector<Var>& leaves, Random& random) {
  Var loss = tape.constant(0, DType::f64);
  for (const auto* list : {&values, &leaves}) {
    for (const Var& v : *list) {
      Tensor weights = Tensor::empty(v.shape(), DType::f64);
      random.fill_uniform(weights, -1, 1);
      loss = loss + sum(v * tape.leaf(weights));
    }
  }
  return loss;
}

Var along(const std::vector<Var>& direction, const Vars& gradients) {
  Var total = sum(direction[0] * gradients[0]);
  for (std::size_t i = 1; i < direction.size(); ++i) total = total + sum(direction[i] * gradients[i]);
  return total;
}

// The sum of |direction * gradient|: what a slope may have been left of.
double terms(const std::vector<Var>& direction, const Vars& gradients) {
  double total = 0;
  for (std::size_t i = 0; i < direction.size(); ++i) {
    for (std::int64_t k = 0; k < direction[i].numel(); ++k) {
      total += std::abs(direction[i].value().at(k) * gradients[i].value().at(k));
    }
  }
  return total;
}

// False if the graph has a kink where it stands.
bool expect_slopes(Tape& tape, Graph& graph, const std::vector<Var>& values, std::uint64_t seed) {
  Random random(seed, 1);
  const std::vector<Var> leaves = graph.leaves();
  const Var loss = loss_of(tape, values, leaves, random);
  std::vector<Var> direction;
  for (const Var& x : leaves) {
    Tensor t = Tensor::empty(x.shape(), DType::f64);
    random.fill_uniform(t, -1, 1);
    direction.push_back(tape.leaf(t));
  }
  const Vars first = grad(loss, leaves);
  const Var slope = along(direction, first);
  // The leaves' own terms are linear: without them the second order would have nothing to hold on to.
  Var curved = slope;
  for (const Var& x : leaves) curved = curved + sum(square(x));
  const Vars second = grad(curved, leaves);
  verify(tape);

  struct Check {
    const char* what;
    Var function;
    const Vars& gradient;
    double best = INFINITY;
    double numeric = 0;
    double bend[2] = {};  // the slope to the right less that to the left, at the first and at a later step
    double allowed = 0;
  };
  Check checks[] = {{"gradient", loss, first}, {"gradient of gradient", curved, second}};
  constexpr double kFirst = 1e-4;
  constexpr double kLater = 1e-6;
  for (const double h : {kFirst, 1e-5, kLater, 1e-7}) {  // a small step, for a tie or a kink may lie near
    double sides[2][2];
    for (int side = 0; side < 2; ++side) {
      std::vector<Tensor> moved;
      for (std::size_t i = 0; i < leaves.size(); ++i) {
        Tensor t = leaves[i].value().clone();
        for (std::int64_t k = 0; k < t.numel(); ++k) {
          t.mutable_data<double>()[static_cast<std::size_t>(k)] += (side == 0 ? h : -h) * direction[i].value().at(k);
        }
        moved.push_back(std::move(t));
      }
      Tape other;
      const std::vector<Var> nodes = replay(tape, other, leaves, moved);
      for (int c = 0; c < 2; ++c) sides[c][side] = nodes[checks[c].function.id()].item();
    }
    bool done = true;
    for (int c = 0; c < 2; ++c) {
      Check& check = checks[c];
      const double numeric = (sides[c][0] - sides[c][1]) / (2 * h);
      const double analytic = along(direction, check.gradient).item();
      const double allowed = 1e-5 * terms(direction, check.gradient) + 1e-7 * std::max(1.0, std::abs(sides[c][0]));
      const double error = std::abs(numeric - analytic) / allowed;
      const double bend = std::abs(sides[c][0] + sides[c][1] - 2 * check.function.item()) / h;
      if (h == kFirst) check.bend[0] = bend;
      if (h == kLater) {
        check.bend[1] = bend;
        check.allowed = allowed;
      }
      if (error < check.best) {
        check.best = error;
        check.numeric = numeric;
      }
      done &= check.best <= 1;
    }
    if (done) return true;
  }
  // A kink at this very point, as where two equal elements are largest: there is no slope, whatever the step. What is
  // smooth bends less and less as the step shrinks.
  for (const Check& check : checks) {
    if (check.bend[1] > 10 * check.allowed && check.bend[1] > 0.5 * check.bend[0]) return false;
  }
  for (const Check& check : checks) {
    EXPECT_LE(check.best, 1) << check.what << ": " << along(direction, check.gradient).item() << " from the rules, "
                             << check.numeric << " from differences";
  }
  return true;
}

std::string how_to_repeat(std::uint64_t seed) {
  return "repeat with EBB_SEED=" + std::to_string(seed) + " EBB_GRAPHS=1 table_test --gtest_filter=RandomGraphs.*";
}

TEST(RandomGraphs, ValuesAndDerivativesAreRight) {
  const std::uint64_t first = number_from("EBB_SEED", 0);
  const std::uint64_t count = number_from("EBB_GRAPHS", 2000);
  const int before = threads();
  std::uint64_t kinks = 0;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE(how_to_repeat(seed));
    try {
      const bool large = seed % 20 == 0;
      Tape tape;
      Graph graph(seed, Rows::all, large);
      const std::vector<Var> values = graph.record(tape);
      expect_oracles(tape);
      if (large) {  // loops: sums over everything are of one graph with it
        Random random(seed, 2);
        grad(loss_of(tape, values, graph.leaves(), random), graph.leaves());
      } else {
        kinks += expect_slopes(tape, graph, values, seed) ? 0 : 1;
      }
      {
        Tape other;
        expect_same_bits(tape, replay(tape, other, {}, {}, true), "node by node");
      }
      if (large) {
        set_threads(before == 1 ? 2 : 1);
        Tape other;
        expect_same_bits(tape, replay(tape, other), "other threads");
        set_threads(before);
      }
      expect_same_program(tape, seed);
      verify(tape);
      EXPECT_FALSE(dump(tape).empty());
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
    set_threads(before);
    if (testing::Test::HasFailure()) {
      std::cout << how_to_repeat(seed) << std::endl;
      return;
    }
  }
  EXPECT_LE(kinks, 1 + count / 500) << "graphs without a slope: too many to have been checked";
}

// All bits of some graphs, and of their gradients, in one number.
std::uint64_t digest() {
  std::uint64_t hash = 1469598103934665603U;  // FNV-1a
  const std::uint64_t first = number_from("EBB_SEED", 0);
  const std::uint64_t count = number_from("EBB_GRAPHS", 2000) / 10;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    Tape tape;
    Graph graph(seed, Rows::exact, seed % 10 == 0);
    const std::vector<Var> values = graph.record(tape);
    Random random(seed, 3);
    grad(loss_of(tape, values, graph.leaves(), random), graph.leaves());
    for (NodeId id = 0; id < tape.size(); ++id) {
      const Tensor& value = tape.value(id);
      if (!value.has_buffer()) continue;
      const std::byte* const bytes = value.raw();
      for (std::size_t i = 0; i < value.bytes(); ++i) {
        hash = (hash ^ static_cast<std::uint64_t>(bytes[i])) * 1099511628211U;
      }
    }
  }
  return hash;
}

// Run by the test below, once per instruction set.
TEST(RandomGraphs, DISABLED_Digest) { std::cout << "digest " << digest() << std::endl; }

TEST(RandomGraphs, ExactRowsGiveTheSameBitsOnEveryInstructionSet) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  std::string want;
  for (int isa = 0; isa < kIsaCount; ++isa) {
    if (!supported(Isa(isa))) continue;
    const std::string command = "EBB_ISA=" + std::string(kIsaNames[static_cast<std::size_t>(isa)]) + " '" + program +
                                "' --gtest_filter=RandomGraphs.DISABLED_Digest --gtest_also_run_disabled_tests";
    std::FILE* const pipe = popen(command.c_str(), "r");
    ASSERT_NE(pipe, nullptr);
    std::string text;
    char piece[256];
    while (std::fgets(piece, sizeof piece, pipe)) text += piece;
    EXPECT_EQ(pclose(pipe), 0) << text;
    const std::size_t at = text.find("digest ");
    ASSERT_NE(at, std::string::npos) << text;
    const std::string got = text.substr(at, text.find('\n', at) - at);
    if (want.empty()) want = got;
    EXPECT_EQ(got, want) << kIsaNames[static_cast<std::size_t>(isa)];
  }
}

}  // namespace
}  // namespace ebb::test
