// The grammar of Mermaid's flowcharts, as far as a dump uses it.
#pragma once

#include <string>

namespace ebb::test {

/// No quote, tag or number sign that is not an entity may stand inside of quotes; every arrow joins boxes that are
/// there; arrows are counted for their colours.
void expect_mermaid(const std::string& text);

}  // namespace ebb::test
