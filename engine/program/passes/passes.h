// Passes: steps from a traced function to another that computes the same.
//
// Those of `exact` keep every bit: they share, drop and compute in advance. Those of `relaxed` also use algebra, which
// changes the rounding. The engine has the passes that need no algebra; whoever knows the ops puts the whole table
// together, in the order in which they run.
#pragma once

#include <ebb/engine/program/traced.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ebb {

enum class Setting : std::uint8_t {
  exact,    ///< the bits of eager mode
  relaxed,  ///< algebra too: within a few ulp, often more accurate
};

/// One application of a rule: which node of one stage became which of the next.
struct Rewrite {
  std::size_t pass = 0;  // stages[pass] became stages[pass + 1]
  std::string_view rule;
  NodeId before = kNoNode;
  NodeId after = kNoNode;
};

/// What the passes did, as data. The stages are kept, so that formulas can be written when someone asks.
struct RewriteLog {
  std::vector<Traced> stages;            // as recorded, then after each pass
  std::vector<std::string_view> passes;  // their names
  std::vector<Rewrite> rewrites;

  void note(std::string_view rule, NodeId before, NodeId after) {
    rewrites.push_back({passes.size() - 1, rule, before, after});
  }
};

/// The log as text, a line for each rewrite that shows: `lower  mean(x) -> sum(x) * (1 / n)  mean(x)  ->  %4 = sum(x) *
/// 0.25`. Numbers hold within a pass: each counts its nodes anew.
std::string to_string(const RewriteLog& log);

/// What a stage computes, a line for each value that no other's formula spells out: `dx = gamma * ivar * dout - %12`.
std::string formulas(const Traced& stage);

struct Pass {
  std::string_view name;
  Setting setting;  // the strictest setting that allows it
  Traced (*run)(const Traced& traced, RewriteLog& log);
};

/// Drops what no result needs and merges nodes of the same op on the same inputs.
extern const Pass kShare;
/// Computes what depends on constants alone, and takes what a constant selects.
extern const Pass kFold;
/// Moves a broadcast behind the elementwise ops that read it, which then run on the smaller tensor.
extern const Pass kSinkBroadcasts;

/// Those three, in an order that works.
std::span<const Pass> engine_passes();

/// Runs every pass that `setting` allows. After each the function must take and give what it took and gave; where
/// assertions are on, the verifier looks at every node too.
///
/// Throws    Error, which names the pass, if one is wrong in that way.
Traced optimise(Traced traced, std::span<const Pass> passes, Setting setting, RewriteLog& log);

}  // namespace ebb
