#include "tests/dump/graphs.h"

#include <gtest/gtest.h>

#include <iostream>
#include <fstream>

namespace ebb {
TEST(Dump, Try) {
  Tape tape;
  test::nine_steps(tape);
  std::cout << dump(tape);
  std::ofstream("/tmp/nine.dot") << dump(tape, {.format = DumpFormat::dot});
}
}
