// The golden families `ops` and `higher`: every case whose operations exist, in f64 and in f32. `higher` calls the
// public functions: hvp, hessian, jacobian, jvp, grad.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <set>
#include <vector>

#include "tests/golden/missing.h"
#include "tests/support/golden_ops.h"

namespace ebb::test {
namespace {

bool listed(std::string_view op) { return std::ranges::find(kMissingOps, op) != std::end(kMissingOps); }

// Calls run(case, tolerance) for every case that can run; the others must wait for an op on the list.
template <class Run>
void for_each_case(const std::string& family, DType dtype, Run run) {
  int done = 0;
  int without = 0;
  std::map<std::string, int> waiting;
  for (const GoldenCase& c : golden(family).cases()) {
    if (const auto missing = missing_op(c)) {
      EXPECT_TRUE(listed(*missing)) << c.name << " waits for " << *missing << ", which is not in missing.h";
      ++waiting[*missing];
      continue;
    }
    const Tolerance* const tolerance = tolerance_of(c, dtype);
    if (!tolerance) {
      ++without;
      continue;
    }
    SCOPED_TRACE(c.name);
    try {
      run(c, *tolerance);
    } catch (const std::exception& error) {
      ADD_FAILURE() << c.name << " threw: " << error.what();
    }
    ++done;
  }
  int total = 0;
  std::string names;
  for (const auto& [op, count] : waiting) {
    total += count;
    names += " " + op + " (" + std::to_string(count) + ")";
  }
  std::cout << "golden " << family << " " << name(dtype) << ": " << done << " cases run, " << without
            << " without a tolerance, " << total << " waiting for:" << (names.empty() ? " nothing" : names) << "\n";
}

class Golden : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(DTypes, Golden, testing::Values(DType::f64, DType::f32),
                         [](const auto& instance) { return std::string(name(instance.param)); });

std::vector<Var> pick(const NamedVars& values, const std::vector<std::string>& roles) {
  std::vector<Var> out;
  for (const std::string& role : roles) out.push_back(values.at(role));
  return out;
}

TEST_P(Golden, Ops) {
  for_each_case("ops", GetParam(), [&](const GoldenCase& c, const Tolerance& tolerance) {
    Tape tape;
    NamedVars values = leaves_of(tape, c, GetParam());
    run_golden(c, values);
    Var loss;
    for (const std::string& role : c.outputs) {
      const Var out = values.at(role);
      expect_close(c, role, out, tolerance);
      if (!c.has("d" + role)) continue;
      const Var part = sum(tape.leaf(tensor_of(c.tensor("d" + role), GetParam())) * out);
      loss = loss.alive() ? loss + part : part;
    }
    if (c.has("argindex")) {
      const Axes axes(c.attrs.at("axes").at(0).get<std::int64_t>());
      const Var place = (c.op == "max" ? argmax : argmin)(values.at(c.args[0]), axes, false);
      EXPECT_TRUE(identical(place.value(), tensor_of(c.tensor("argindex"), DType::i64))) << c.name;
    }
    if (c.diff.empty()) return;
    const Vars gradients = grad(loss, pick(values, c.diff));
    for (std::size_t i = 0; i < c.diff.size(); ++i) expect_close(c, "d" + c.diff[i], gradients[i], tolerance);
  });
}

struct Higher {
  Tape& tape;
  const GoldenCase& c;
  const Tolerance& tolerance;
  DType dtype;
  const NamedVars& values;
  std::vector<Var> x;  // the roles of diff
  Var out;

  std::vector<Var> roles(const std::string& prefix) const {
    std::vector<Var> vars;
    for (const std::string& role : c.diff) vars.push_back(tape.leaf(tensor_of(c.tensor(prefix + role), dtype)));
    return vars;
  }
  void expect_each(const std::string& prefix, const Vars& got) const {
    for (std::size_t i = 0; i < c.diff.size(); ++i) expect_close(c, prefix + c.diff[i], got[i], tolerance);
  }
};

void check_hvp(const Higher& h) {
  h.expect_each("d", grad(h.out, h.x));
  h.expect_each("hvp_", hvp(h.out, h.x, h.roles("v_")));
}

// Both ways: values alone, and recorded rows.
void check_hessian(const Higher& h) {
  for (const bool keep : {false, true}) {
    const std::vector<Vars> blocks = hessian(h.out, h.x, {.keep = keep});
    for (std::size_t i = 0; i < h.x.size(); ++i) h.expect_each("hess_" + h.c.diff[i] + "_", blocks[i]);
  }
}

void check_jacobian(const Higher& h) {
  for (const bool keep : {false, true}) h.expect_each("jac_", jacobian(h.out, h.x, {.keep = keep}));
}

void check_jvp(const Higher& h) { expect_close(h.c, "jvp", jvp({h.out}, h.x, h.roles("t_"))[0], h.tolerance); }

void grad_of_grad(const Higher& h) {
  const Var g = grad(sum(h.out), h.values.at(h.c.description.at("wrt").get<std::string>()));
  expect_close(h.c, "g", g, h.tolerance);
  const Var squares = sum(square(g));
  const Var penalty = h.c.description.at("penalty") == "norm" ? sqrt(squares + 1e-12) : squares;
  expect_close(h.c, "penalty", penalty, h.tolerance);
  h.expect_each("dp_", grad(penalty, h.x));
}

void nth_derivative(const Higher& h) {
  Var d = h.out;
  for (int k = 1; k <= h.c.description.at("order").get<int>(); ++k) {
    d = grad(sum(d), h.x[0]);
    expect_close(h.c, "d" + std::to_string(k), d, h.tolerance);
  }
}

TEST_P(Golden, Higher) {
  const std::map<std::string, void (*)(const Higher&)> kinds{
      {"hvp", check_hvp}, {"hessian", check_hessian},     {"jacobian", check_jacobian},
      {"jvp", check_jvp}, {"grad_of_grad", grad_of_grad}, {"nth_derivative", nth_derivative}};
  for_each_case("higher", GetParam(), [&](const GoldenCase& c, const Tolerance& tolerance) {
    Tape tape;
    NamedVars values = leaves_of(tape, c, GetParam());
    run_golden(c, values);
    expect_close(c, "out", values.at("out"), tolerance);
    kinds.at(c.op)({tape, c, tolerance, GetParam(), values, pick(values, c.diff), values.at("out")});
  });
}

TEST(GoldenMissing, TheListOnlyShrinks) {
  std::set<std::string> needed;
  for (const char* family : {"ops", "higher"}) {
    for (const GoldenCase& c : golden(family).cases()) {
      if (c.program.empty()) needed.insert(golden_op_key(c.op, c.attrs));
      for (const Json& step : c.program)
        needed.insert(golden_op_key(step.at("op"), step.value("attrs", Json::object())));
    }
  }
  for (const std::string_view op : kMissingOps) {
    EXPECT_FALSE(golden_ops().contains(op)) << op << " exists now: take it off the list";
    EXPECT_EQ(find_row(op), nullptr) << op << " has a row now: add it to golden_ops() and take it off the list";
    EXPECT_TRUE(needed.contains(std::string(op))) << op << " is needed by no case";
  }
}

}  // namespace
}  // namespace ebb::test
