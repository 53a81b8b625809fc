// The page for those who do not look at it, or have no mouse: what a screen reader is told, where the focus goes, what
// keys do. And for those who look: at every width, in the dark and on paper it must fit; the pictures are kept below
// the build folder, in tests/output/dump.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/dump/support/browser.h"
#include "tests/dump/support/driver.h"
#include "tests/dump/support/golden.h"
#include "tests/dump/support/graphs.h"

namespace ebb {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kTab[] = "\ue004";
constexpr char kEnter[] = "\ue007";
constexpr char kHome[] = "\ue011";
constexpr char kEnd[] = "\ue010";
constexpr char kLeft[] = "\ue012";
constexpr char kRight[] = "\ue014";

class Accessibility : public testing::Test {
 protected:
  void SetUp() override {
    if (test::browser().empty() || !test::Driver::available()) {
      GTEST_SKIP() << "Chromium or its driver is not installed (apt install chromium chromium-driver): nobody has "
                      "read the page";
    }
    if (test::program("dot").empty()) {
      GTEST_SKIP() << "Graphviz is not installed (apt install graphviz): there is no page without it";
    }
    folder_ = fs::path(EBB_TEST_OUTPUT) / testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    driver_ = std::make_unique<test::Driver>();
    Tape tape;
    test::nine_steps(tape);
    page_ = folder_ / "page.html";
    write_dump(tape, page_.string(),
               {.format = DumpFormat::html,
                .title = "Nine steps",
                .panes = {{.title = "Kernels", .columns = {{"kernels", {{.title = "one", .nodes = {3, 4}}}}}}}});
    driver_->resize(1280, 800);
    driver_->open(page_);
  }

  // What is in the tree that screen readers read, level by level.
  struct Item {
    std::string role, name;
    std::map<std::string, json> properties;
  };
  std::vector<Item> tree() {
    std::vector<Item> out;
    const json all = driver_->command("Accessibility.getFullAXTree");
    for (const json& node : all["nodes"]) {
      if (node["ignored"]) continue;
      Item item{node["role"]["value"], node.contains("name") ? node["name"].value("value", "") : "", {}};
      for (const json& property : node.value("properties", json::array())) {
        item.properties[property["name"]] = property["value"].value("value", json());
      }
      out.push_back(std::move(item));
    }
    return out;
  }
  static std::vector<std::string> named(const std::vector<Item>& items, const std::string& role) {
    std::vector<std::string> out;
    for (const Item& item : items) {
      if (item.role == role) out.push_back(item.name);
    }
    return out;
  }

  std::string text(const std::string& id) {
    return driver_->run(fmt::format("return document.getElementById('{}').textContent", id));
  }
  // What has the focus: its label, or what it says.
  std::string focused() {
    return driver_->run(
        "const at = document.activeElement; return at === document.body ? 'body' : at.ariaLabel || at.innerText;");
  }

  fs::path folder_, page_;
  std::unique_ptr<test::Driver> driver_;
};

TEST_F(Accessibility, WhatCanBeUsedHasARoleAndAName) {
  const std::vector<Item> items = tree();
  EXPECT_EQ(named(items, "button"),
            (std::vector<std::string>{"Light or dark", "Larger", "Smaller", "Fit", "Every step", "Memory and cost",
                                      "Kernels", "First step", "One step back", "Play", "Next step", "Last step"}));
  EXPECT_EQ(named(items, "slider"), std::vector<std::string>{"Step"});
  const std::vector<std::string> cells = named(items, "textbox");
  ASSERT_EQ(cells.size(), 12u + 3 + 3 + 12);
  EXPECT_EQ(cells[4], "x 1, 1");
  EXPECT_EQ(cells[12], "gamma 0");
  EXPECT_EQ(cells[18], "dout 0, 0");
  EXPECT_EQ(named(items, "table"), (std::vector<std::string>{"x [4, 3]", "gamma [3]", "beta [3]", "dout [4, 3]"}));
  EXPECT_EQ(named(items, "image"), std::vector<std::string>{"The graph. What is given"});
  for (const char* role : {"banner", "main", "navigation"}) EXPECT_EQ(named(items, role).size(), 1u) << role;
  for (const Item& item : items) {
    const auto focusable = item.properties.find("focusable");
    if (focusable == item.properties.end() || focusable->second != true) continue;
    EXPECT_FALSE(item.name.empty()) << item.role;
  }
}

TEST_F(Accessibility, AStepIsAnnouncedWithItsReasonsAndNotItsNumbers) {
  driver_->press(kRight);
  driver_->press(kRight);
  EXPECT_EQ(text("announcement"),
            "Forward, step 2 xmu. xmu = x − mu. mu has shape [3]: it is repeated along axis 0 to meet [4, 3]. xmu goes "
            "two ways from here, to sq and xhat. On the way back two contributions will meet at it.");
  std::size_t live = 0;
  for (const Item& item : tree()) {
    const auto found = item.properties.find("live");
    if (found == item.properties.end() || found->second == "off") continue;
    ++live;
    EXPECT_EQ(item.role, "status");
    EXPECT_EQ(found->second, "polite");
  }
  EXPECT_EQ(live, 1u);
  EXPECT_EQ(driver_->run("return document.getElementById('slider').ariaValueText"), "Forward, step 2");
  EXPECT_EQ(named(tree(), "image"), std::vector<std::string>{"The graph. Forward, step 2: xmu at work"});
}

TEST_F(Accessibility, TheFocusGoesFromTheControlsToTheNumbersToThePanes) {
  std::vector<std::string> order;
  for (int i = 0; i < 42; ++i) {
    driver_->press(kTab);
    order.push_back(focused());
  }
  EXPECT_EQ(std::vector<std::string>(order.begin(), order.begin() + 9),
            (std::vector<std::string>{"Light or dark", "Larger", "Smaller", "Fit", "Play", "Next step", "Last step",
                                      "Step", "x 0, 0"}));
  EXPECT_EQ(std::vector<std::string>(order.begin() + 37, order.begin() + 41),
            (std::vector<std::string>{"dout 3, 2", "Every step", "Memory and cost", "Kernels"}));
}

TEST_F(Accessibility, KeysStepAndEdit) {
  const auto position = [&] { return text("position"); };
  driver_->press(kRight);
  EXPECT_EQ(position(), "1 of 19");
  driver_->press(kEnd);
  EXPECT_EQ(position(), "19 of 19");
  driver_->press(kLeft);
  EXPECT_EQ(position(), "18 of 19");
  driver_->press(kHome);
  EXPECT_EQ(position(), "0 of 19");
  // A button that is disabled under the focus passes it on: the keys still work.
  driver_->run("document.getElementById('last').focus()");
  driver_->press(kEnter);
  EXPECT_EQ(position(), "19 of 19");
  EXPECT_EQ(focused(), "Play");
  driver_->press(kLeft);
  EXPECT_EQ(position(), "18 of 19");
  // A number: arrows move in it, Enter takes it, a word is refused.
  driver_->press(kHome);
  const auto edit = [&](const std::string& letters) {
    driver_->run("document.querySelector(\"input[aria-label='x 0, 0']\").focus()");
    for (const char letter : letters) driver_->press(std::string(1, letter));
    driver_->press(kLeft);
    driver_->press(kEnter);
  };
  edit("7");
  EXPECT_EQ(position(), "0 of 19");
  EXPECT_TRUE(text("announcement").starts_with("Edited: x. 21 of 26 tensors moved")) << text("announcement");
  EXPECT_EQ(driver_->run("return document.querySelector(\"input[aria-label='x 0, 0']\").value"), "7.00");
  edit("word");
  EXPECT_EQ(driver_->run("return document.querySelector(\"input[aria-label='x 0, 0']\").ariaInvalid"), "");
  EXPECT_TRUE(text("announcement").ends_with("is no number: x 0, 0 stays as it was.")) << text("announcement");
  driver_->run("document.activeElement.blur()");  // who leaves it finds the number again
  EXPECT_EQ(driver_->run("return document.querySelector(\"input[aria-label='x 0, 0']\").ariaInvalid"), nullptr);
  EXPECT_EQ(driver_->run("return document.querySelector(\"input[aria-label='x 0, 0']\").value"), "7.00");
  driver_->run("document.getElementById('reset').click()");
  EXPECT_EQ(text("announcement"), "The recorded numbers again.");
}

TEST_F(Accessibility, APaneSaysWhetherItIsOpen) {
  const auto pressed = [&] {
    std::vector<json> out;
    for (const Item& item : tree()) {
      if (item.role == "button" && item.name == "Every step") out.push_back(item.properties.at("pressed"));
    }
    return out;
  };
  EXPECT_EQ(pressed(), std::vector<json>{"false"});
  EXPECT_EQ(named(tree(), "columnheader").size(), 0u);
  driver_->run("document.querySelector('#panes button').focus()");
  driver_->press(kEnter);
  EXPECT_EQ(pressed(), std::vector<json>{"true"});
  EXPECT_EQ(named(tree(), "columnheader"),
            (std::vector<std::string>{"step", "name", "formula", "derivatives", "type", "line"}));
}

TEST_F(Accessibility, FitsEveryWidthAndPaper) {
  for (const auto& [width, height] : {std::pair(390, 844), {768, 1024}, {1280, 800}, {1920, 1080}}) {
    driver_->resize(width, height);
    for (const char* hash : {"step=0", "step=12", "step=17&theme=dark&edit=x,0,9&pane=0&pane=2"}) {
      driver_->open(page_, hash);
      EXPECT_EQ(driver_->run("return document.documentElement.scrollWidth"), width) << hash;
      // No text of the figure is smaller than can be read, and what is at work is inside of it.
      const json seen = driver_->run(
          "const stage = svg.getBoundingClientRect();"
          "return [...document.querySelectorAll('.box.works')].map((box) => box.getBoundingClientRect())"
          ".every((box) => box.left >= stage.left && box.right <= stage.right && box.top >= stage.top &&"
          " box.bottom <= stage.bottom)");
      EXPECT_EQ(seen, true) << width << " " << hash;
      driver_->screenshot(folder_ /
                          fmt::format("{}-{}.png", width, std::string(hash).substr(0, hash[6] == '&' ? 6 : 7)));
    }
  }
  driver_->print(folder_ / "page.pdf");
  EXPECT_TRUE(test::read(folder_ / "page.pdf").starts_with("%PDF-"));
}

}  // namespace
}  // namespace ebb
