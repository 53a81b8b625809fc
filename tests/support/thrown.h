// The text of an error: tests compare it as a whole, since the text is what a user gets.
#pragma once

#include <ebb/engine/error.h>
#include <gtest/gtest.h>

#include <string>
#include <typeinfo>

namespace ebb::test {

/// Runs f and returns the text of the E it throws; fails the test if it throws no E, or nothing.
template <class E = Error, class F>
std::string thrown(F&& f) {
  try {
    f();
  } catch (const E& error) {
    EXPECT_EQ(typeid(error), typeid(E)) << "a subclass: " << error.what();
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "threw a " << typeid(error).name() << ": " << error.what();
    return {};
  }
  ADD_FAILURE() << "threw nothing";
  return {};
}

}  // namespace ebb::test
