// The golden families `ops` and `higher`: every case whose operations exist, in f64 and in f32, eagerly and compiled.
// `higher` calls the public functions: hvp, hessian, jacobian, jvp, grad.
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
    expect_golden(c, GetParam(), {&tolerance, &tolerance}, [&](GoldenRecording& recording) {
      NamedVars values = leaves_of(recording, c);
      run_golden(c, values, recording.kernels());
      Var loss;
      for (const std::string& role : c.outputs) {
        const Var out = values.at(role);
        recording.give(role, out);
        if (!c.has("d" + role)) continue;
        const Var part = sum(recording.leaf("d" + role) * out);
        loss = loss.alive() ? loss + part : part;
      }
      if (c.has("argindex")) {
        const Axes axes(c.attrs.at("axes").at(0).get<std::int64_t>());
        recording.give("argindex", (c.op == "max" ? argmax : argmin)(values.at(c.args[0]), axes, false));
      }
      if (c.diff.empty()) return;
      const Vars gradients = grad(loss, pick(values, c.diff));
      for (std::size_t i = 0; i < c.diff.size(); ++i) recording.give("d" + c.diff[i], gradients[i]);
    });
  });
}

struct Higher {
  GoldenRecording& recording;
  const GoldenCase& c;
  const NamedVars& values;
  std::vector<Var> x;  // the roles of diff
  Var out;

  std::vector<Var> roles(const std::string& prefix) const {
    std::vector<Var> vars;
    for (const std::string& role : c.diff) vars.push_back(recording.leaf(prefix + role));
    return vars;
  }
  void give_each(const std::string& prefix, const Vars& got) const {
    for (std::size_t i = 0; i < c.diff.size(); ++i) recording.give(prefix + c.diff[i], got[i]);
  }
};

void give_hvp(const Higher& h) {
  h.give_each("d", grad(h.out, h.x));
  h.give_each("hvp_", hvp(h.out, h.x, h.roles("v_")));
}

// Both ways: values alone, and recorded rows.
void give_hessian(const Higher& h) {
  for (const bool keep : {false, true}) {
    const std::vector<Vars> blocks = hessian(h.out, h.x, {.keep = keep});
    for (std::size_t i = 0; i < h.x.size(); ++i) h.give_each("hess_" + h.c.diff[i] + "_", blocks[i]);
  }
}

void give_jacobian(const Higher& h) {
  for (const bool keep : {false, true}) h.give_each("jac_", jacobian(h.out, h.x, {.keep = keep}));
}

void give_jvp(const Higher& h) { h.recording.give("jvp", jvp({h.out}, h.x, h.roles("t_"))[0]); }

void grad_of_grad(const Higher& h) {
  const Var g = grad(sum(h.out), h.values.at(h.c.description.at("wrt").get<std::string>()));
  h.recording.give("g", g);
  const Var squares = sum(square(g));
  const Var penalty = h.c.description.at("penalty") == "norm" ? sqrt(squares + 1e-12) : squares;
  h.recording.give("penalty", penalty);
  h.give_each("dp_", grad(penalty, h.x));
}

void nth_derivative(const Higher& h) {
  Var d = h.out;
  for (int k = 1; k <= h.c.description.at("order").get<int>(); ++k) {
    d = grad(sum(d), h.x[0]);
    h.recording.give("d" + std::to_string(k), d);
  }
}

TEST_P(Golden, Higher) {
  const std::map<std::string, void (*)(const Higher&)> kinds{
      {"hvp", give_hvp}, {"hessian", give_hessian},      {"jacobian", give_jacobian},
      {"jvp", give_jvp}, {"grad_of_grad", grad_of_grad}, {"nth_derivative", nth_derivative}};
  for_each_case("higher", GetParam(), [&](const GoldenCase& c, const Tolerance& tolerance) {
    expect_golden(c, GetParam(), {&tolerance, &tolerance}, [&](GoldenRecording& recording) {
      NamedVars values = leaves_of(recording, c);
      run_golden(c, values, recording.kernels());
      recording.give("out", values.at("out"));
      kinds.at(c.op)({recording, c, values, pick(values, c.diff), values.at("out")});
    });
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
