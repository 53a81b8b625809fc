// The page of HTML dumps, in headless Chromium: what it shows is what the engine has computed, and what it computes
// after an edit is what the engine computes. Asked with #selftest, the page walks through all of its frames, reads the
// numbers back from its own cells and writes them down. Pages are kept below the build folder, in tests/output/dump.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "tests/dump/support/browser.h"
#include "tests/dump/support/golden.h"
#include "tests/dump/support/graphs.h"

namespace ebb {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class Player : public testing::Test {
 protected:
  void SetUp() override {
    browser_ = test::browser();
    if (browser_.empty()) GTEST_SKIP() << "Chromium is not installed (apt install chromium): the page was not opened";
    if (std::system("dot -V 2>/dev/null") != 0) {
      GTEST_SKIP() << "Graphviz is not installed (apt install graphviz): there is no page without it";
    }
    const testing::TestInfo& test = *testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(EBB_TEST_OUTPUT) / test.name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }

  // Writes the page of a tape and returns it.
  std::string write(const Tape& tape, DumpOptions options = {}) {
    options.format = DumpFormat::html;
    write_dump(tape, (folder_ / "page.html").string(), options);
    return test::read(folder_ / "page.html");
  }

  std::string run(const std::string& arguments, const std::string& hash) const {
    const std::string command = fmt::format(
        "timeout 100 '{}' --headless --no-sandbox --disable-gpu --hide-scrollbars --disable-background-networking "
        "--user-data-dir='{}' {} 'file://{}#{}' 2>'{}'",
        browser_, (folder_ / "profile").string(), arguments, (folder_ / "page.html").string(), hash,
        (folder_ / "messages").string());
    std::string out;
    FILE* const pipe = popen(command.c_str(), "r");
    char buffer[4096];
    for (std::size_t n = 0; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) out.append(buffer, n);
    EXPECT_EQ(pclose(pipe), 0) << command << "\n" << test::read(folder_ / "messages");
    return out;
  }

  // The page as the browser has it after its own walk.
  std::string document(const std::string& edits = {}) const { return run("--dump-dom", "selftest" + edits); }

  static json report(const std::string& document) {
    const std::string begin = "<pre id=\"report\" hidden=\"\">";
    const std::size_t at = document.find(begin);
    if (at == std::string::npos) throw std::runtime_error("the page has no report: its script failed");
    std::string text = document.substr(at + begin.size(), document.find("</pre>", at) - at - begin.size());
    for (const auto& [entity, sign] : {std::pair("&lt;", "<"), {"&gt;", ">"}, {"&nbsp;", " "}, {"&amp;", "&"}}) {
      for (std::size_t i = text.find(entity); i != std::string::npos; i = text.find(entity, i + 1)) {
        text.replace(i, std::string(entity).size(), sign);
      }
    }
    return json::parse(text);
  }

  std::string browser_;
  fs::path folder_;
};

// The numbers that a page shows of one node: by place, as text.
std::map<NodeId, std::map<std::int64_t, double>> numbers(const json& report) {
  std::map<NodeId, std::map<std::int64_t, double>> out;
  for (const json& frame : report["frames"]) {
    for (const auto& [node, cells] : frame["cells"].items()) {
      for (const auto& [index, text] : cells.items()) {
        EXPECT_TRUE(text.is_string()) << "%" << node;
        const std::string word = text.is_string() ? text.get<std::string>() : "NaN";
        out[static_cast<NodeId>(std::stoul(node))][std::stoll(index)] =
            word == "NaN" ? std::nan("") : std::strtod(word.c_str(), nullptr);
      }
    }
  }
  return out;
}

std::vector<std::string> titles(const json& report) {
  std::vector<std::string> out;
  for (const json& frame : report["frames"]) out.push_back(frame["title"]);
  return out;
}

// Every element on the page, compared with the same tape's: within `tolerance` of a tensor's largest element.
std::size_t compare(const json& report, const Tape& tape, double tolerance) {
  std::size_t count = 0;
  for (const auto& [id, cells] : numbers(report)) {
    const Tensor& value = tape.value(id);
    double largest = 0;
    for (std::int64_t i = 0; i < value.numel(); ++i) largest = std::max(largest, std::abs(value.at(i)));
    EXPECT_EQ(cells.size(), static_cast<std::size_t>(value.numel())) << tape.name_of(id);
    for (const auto& [index, x] : cells) {
      EXPECT_LE(std::abs(x - value.at(index)), tolerance * largest) << tape.name_of(id) << " at " << index;
      ++count;
    }
  }
  return count;
}

// --- the engine's numbers
// ----------------------------------------------------------------------------------------------

TEST_F(Player, StepsForwardAndBackWithTheEnginesNumbers) {
  Tape tape;
  test::nine_steps(tape);
  write(tape, {.title = "Nine steps"});
  const json walk = report(document());
  EXPECT_EQ(titles(walk),
            (std::vector<std::string>{"What is given",    "Forward, step 1",  "Forward, step 2",  "Forward, step 3",
                                      "Forward, step 4",  "Forward, step 5",  "Forward, step 6",  "Forward, step 7",
                                      "Forward, step 8",  "Forward, step 9",  "Backward, step 9", "Backward, step 8",
                                      "Backward, step 7", "Backward, step 6", "Backward, step 5", "Backward, step 4",
                                      "Backward, step 3", "Backward, step 2", "Backward, step 1", "Backward, step 0"}));
  EXPECT_EQ(compare(walk, tape, 0), 204u);  // 26 tensors
  // Every named node is there with all of its numbers.
  const auto shown = numbers(walk);
  for (const char* name : {"x",        "gamma", "beta",   "dout",  "mu",    "xmu",    "sq",    "var",   "sqrtvar",
                           "ivar",     "xhat",  "gammax", "out",   "dbeta", "dgamma", "dxhat", "divar", "dxmu1",
                           "dsqrtvar", "dvar",  "dsq",    "dxmu2", "dxmu",  "dmu",    "dx2",   "dx"}) {
    EXPECT_TRUE(shown.contains(tape.find(name).id())) << name;
  }
  EXPECT_EQ(walk["keys"], json::parse("[1, 2, 1, 19, 19, 0, 0]"));
  // Each step lights its arrows.
  for (const json& frame : walk["frames"]) {
    EXPECT_EQ(frame["kind"] == "given", frame["lit"] == 0) << frame["title"];
  }
}

TEST_F(Player, SaysWhy) {
  Tape tape;
  test::nine_steps(tape);
  write(tape);
  const json walk = report(document());
  const auto says = [&](std::size_t frame, const char* words) {
    const std::string text = walk["frames"][frame]["text"];
    EXPECT_NE(text.find(words), std::string::npos) << words << "\nis not in\n" << text;
  };
  says(1, "mean takes 4 numbers along axis 0 to one: [4, 3] becomes [3].");
  says(2, "mu has shape [3]: it is repeated along axis 0 to meet [4, 3].");
  says(2, "xmu goes two ways from here, to sq and xhat.");
  says(10, "The derivative of out by gammax is 1: dgammax is dout as it stands.");
  says(10,
       "beta was repeated along axis 0: each of its elements had a part in 4 elements of out, so their cotangents "
       "are added. A sum stands where the broadcast was.");
  says(12, "divar is dxhat times the derivative of xhat by ivar, which is xmu.");
  says(15, "A broadcast stands where the mean was.");
  says(17,
       "xmu went two ways on the way forward, to sq and xhat. A change of xmu moves the result through each of "
       "them, so the contributions add: dxmu is the sum of dxmu1 and dxmu2.");
  says(19, "dx is the sum of dx1 and dx2.");
}

// --- edits
// -------------------------------------------------------------------------------------------------------------

TEST_F(Player, AnEditGivesWhatTheEngineComputes) {
  // Where an edit goes: to one element of each leaf, or nowhere.
  const auto build = [](Tape& tape, bool edited) {
    const auto leaf = [&](const Shape& shape, const char* name, std::size_t at, double x) {
      Tensor tensor = Tensor::empty(shape, DType::f64);
      Random random(7, at);
      random.fill_normal(tensor, 1, 2);
      if (edited) tensor.mutable_data<double>()[at] = x;
      return tape.leaf(tensor, name);
    };
    const Var x = leaf({4, 5}, "x", 4, 2.5);
    const Var gamma = leaf({5}, "gamma", 1, -0.75);
    const Var beta = leaf({5}, "beta", 2, 0.1);
    const Var out = batch_norm(x, gamma, beta);
    pullback(out, leaf({4, 5}, "dout", 17, 3), {x, gamma, beta});
  };
  Tape tape;
  build(tape, false);
  write(tape);
  const std::string unedited = document();
  EXPECT_GT(compare(report(unedited), tape, 0), 330u);
  const json walk = report(document("&edit=x,4,2.5&edit=gamma,1,-0.75&edit=beta,2,0.1&edit=dout,17,3"));
  EXPECT_TRUE(walk["blocked"].empty()) << walk["blocked"];
  Tape edited;
  build(edited, true);
  EXPECT_GT(compare(walk, edited, 1e-12), 330u);
}

// Softmax, with the steps of a maximum; layer norm; functions of analysis.
TEST_F(Player, EditsOfOtherGraphs) {
  const auto build = [](Tape& tape, double x1) {
    const Var x = tape.leaf(Tensor::of<double>({2, 3}, {0.5, x1, -1, 2, 0.25, 1}), "x");
    const Var w = tape.leaf(Tensor::of<double>({3}, {1, 0.5, 2}), "w");
    const Var p = tape.name(softmax(x), "p");
    const Var n = tape.name(layer_norm(x * w), "n");
    const Var f = tape.name(sigmoid(n) * gelu(p) + sqrt(exp(p)) * tanh(x), "f");
    const Var loss = tape.name(mean(f * f), "loss");
    grad(loss, {x, w});
  };
  Tape tape;
  build(tape, 0.75);
  write(tape);
  const json walk = report(document("&edit=x,1,-2"));
  EXPECT_TRUE(walk["blocked"].empty()) << walk["blocked"];
  Tape edited;
  build(edited, -2);
  EXPECT_GT(compare(walk, edited, 1e-12), 30u);
}

TEST_F(Player, RowsThatItCannotRecomputeAreNamed) {
  Tape tape;
  const Var x = tape.leaf(Tensor::of<double>({3}, {1, 2, 3}), "x");
  const Var y = tape.name(cumsum(x, 0), "y");
  tape.name(y * 2.0, "z");
  tape.name(x * 2.0, "w");
  write(tape);
  const std::string page = document("&edit=x,1,-2");
  EXPECT_NE(page.find("This page cannot recompute cumsum: two tensors that depend on it are left out."),
            std::string::npos);
  EXPECT_EQ(report(page)["blocked"], json::array({"cumsum"}));
}

// --- any graph, any name
// --------------------------------------------------------------------------------------------------

TEST_F(Player, PlaysOtherGraphs) {
  for (const auto build :
       {+[](Tape& tape) { test::two_layers(tape); }, +test::second_order, +test::batch_norm_of_images, +[](Tape&) {}}) {
    Tape tape;
    build(tape);
    write(tape, {.full_values = 128});
    compare(report(document()), tape, 0);
  }
  Tape closed;
  test::two_layers(closed);
  write(closed, {.depth = 1});
  EXPECT_GT(report(document())["frames"].size(), 3u);
  Tape traced(Tape::Mode::trace);
  test::two_layers(traced);
  write(traced);
  EXPECT_GT(report(document())["frames"].size(), 5u);
}

// A step through thousands of nodes touches no more of the page than one through forty: only what is near the seen part
// of the figure is drawn. How long a step takes is kept beside the page.
TEST_F(Player, WalksTwoThousandNodes) {
  Tape tape;
  test::blocks(tape, 210);
  ASSERT_GT(tape.size(), 2000u);
  write(tape);
  const json walk = report(document());
  EXPECT_GT(walk["frames"].size(), 1500u);
  EXPECT_GT(compare(walk, tape, 0), 10000u);
  EXPECT_LT(walk["drawn"], 3000) << "elements of the figure that are in the document at once";
  std::vector<double> steps = walk["steps"];
  std::ranges::sort(steps);
  std::ofstream(folder_ / "times.txt") << fmt::format(
      "{} nodes: shown after {:.0f} ms; a step {:.1f} ms, at most {:.1f} ms\n", tape.size(),
      walk["painted"].get<double>(), steps[steps.size() / 2], steps.back());
}

// Of repeated blocks one is shown. What reads the others has not been computed from it, and the page does not pretend.
TEST_F(Player, SaysWhatIsShownOnceOfSeveral) {
  Tape tape;
  test::blocks(tape, 6);
  write(tape, {.fold_repeats = true});
  const std::string page = document("&edit=x,1,-3");
  EXPECT_NE(page.find("Shown once of 4: net.block2, up to net.block5; the numbers are those of the first."),
            std::string::npos);
  EXPECT_NE(page.find("(it reads what is shown once of several)"), std::string::npos);
  EXPECT_FALSE(report(page)["blocked"].empty());
}

TEST_F(Player, HostileNamesStayText) {
  Tape tape;
  test::hostile_names(tape);
  const std::string page = write(tape, {.title = "</title><script>document.body.id = 'taken'</script>"});
  const auto scripts = [](const std::string& text) {
    std::size_t count = 0;
    for (std::size_t i = text.find("<script"); i != std::string::npos; i = text.find("<script", i + 1)) ++count;
    return count;
  };
  EXPECT_EQ(scripts(page), 3u);  // the theme, the data and the player
  const std::string document = this->document();
  EXPECT_EQ(scripts(document), 3u);
  EXPECT_EQ(document.find("id=\"taken\""), std::string::npos);
  bool found = false;
  const json walk = report(document);
  for (const json& frame : walk["frames"]) {
    found |= frame["text"].get<std::string>().find("\"><script>alert('&')</script>") != std::string::npos;
  }
  EXPECT_TRUE(found);
  compare(walk, tape, 0);
}

TEST_F(Player, AsksForNothingFromANetwork) {
  Tape tape;
  test::nine_steps(tape);
  std::string page = write(tape);
  EXPECT_NE(page.find("content=\"default-src 'none'"), std::string::npos);
  const std::string svg = "\"http://www.w3.org/2000/svg\"";  // a name, not an address
  page.replace(page.find(svg), svg.size(), "");
  for (const char* word :
       {"http:", "https:", "src=", "href=", "url(\"", "@import", "fetch(", "XMLHttpRequest", "//cdn"}) {
    EXPECT_EQ(page.find(word), std::string::npos) << word;
  }
  // What the browser has loaded for the page, or has refused to.
  EXPECT_EQ(report(document())["loaded"], json::array());
}

TEST_F(Player, ShowsWhatDoesTheWorkBesideTheGraph) {
  Tape tape;
  test::nine_steps(tape);
  const NodeId mu = tape.find("mu").id();
  const NodeId xmu = tape.find("xmu").id();
  const DumpPart centre{"centre", "reads x twice", {"x - mean(x) <b>"}, {mu, xmu}};
  write(tape, {.panes = {{.title = "Kernels", .columns = {{"kernels", {centre}}}}}});
  const std::string page = run("--dump-dom", "step=2&pane=2");
  const auto count = [&](std::string_view text) {
    std::size_t n = 0;
    for (std::size_t at = page.find(text); at != std::string::npos; at = page.find(text, at + 1)) ++n;
    return n;
  };
  EXPECT_EQ(count("class=\"beside-link\""), 1u);        // of mu
  EXPECT_EQ(count("class=\"beside-link works\""), 1u);  // step 2 is xmu
  EXPECT_EQ(count("class=\"beside-part works\""), 1u);
  EXPECT_EQ(count("class=\"beside-node gone"), 7u);  // the rest of the nine steps
  EXPECT_NE(page.find("x − mean(x) &lt;b&gt;"), std::string::npos);
}

// Every node whose work is still done is in the loops that do it.
TEST(LoopsBeside, SaysWhereEachNodeWent) {
  const auto f = [](Var x, Var gamma, Var beta, Var dout) {
    const Var out = batch_norm(x, gamma, beta);
    const Vars gradients = pullback(out, dout, {x, gamma, beta});
    return Vars{out, gradients[0], gradients[1], gradients[2]};
  };
  Tensor x = Tensor::empty({4, 5}, DType::f64);
  Random(3).fill_normal(x);
  const Tensor gamma = Tensor::full({5}, 2, DType::f64);
  auto step = compile(f, {.arguments = {"x", "gamma", "beta", "dout"}});
  step(x, gamma, gamma, x);
  Tape tape;
  f(tape.leaf(x, "x"), tape.leaf(gamma, "gamma"), tape.leaf(gamma, "beta"), tape.leaf(x, "dout"));
  const DumpColumn column = loops_beside(tape, step.program());
  const auto parts_with = [&](std::string_view name) {
    std::vector<const DumpPart*> out;
    for (const DumpPart& part : column.parts) {
      for (const NodeId id : part.nodes) {
        if (tape.name_of(id) == name) out.push_back(&part);
      }
    }
    return out;
  };
  EXPECT_EQ(column.parts.size(), step.program().schedule().actions.size());
  for (const std::string name : {"out", "dx"}) {
    ASSERT_EQ(parts_with(name).size(), 1u) << name;
    const DumpPart& part = *parts_with(name)[0];
    EXPECT_TRUE(part.title.starts_with("loop ") && part.title.ends_with(" over [4, 5]")) << part.title;
    EXPECT_TRUE(std::ranges::any_of(part.lines, [&](const std::string& l) { return l.starts_with(name + " = "); }));
  }
  EXPECT_FALSE(parts_with("mu").empty());   // by the moments that stand at its step
  EXPECT_TRUE(parts_with("xhat").empty());  // simplified away
  for (const DumpPart& part : column.parts) {
    for (const std::string& line : part.lines) EXPECT_EQ(line.find("arg"), std::string::npos) << line;
  }
}

TEST_F(Player, TwoRunsAreByteIdentical) {
  const auto page = [&] {
    Tape tape;
    test::nine_steps(tape);
    return write(tape);
  };
  EXPECT_EQ(page(), page());
}

}  // namespace
}  // namespace ebb
