// Handwritten digits, 8 x 8 pixels, which ship with the library (nn/data/README.md says where they come from).
#pragma once

#include <ebb/engine/error.h>
#include <ebb/nn/data/dataset.h>

#include <string>

namespace ebb::nn {

/// The digits that ship inside the library, 1,797 of them, or those of a file of the same form.
///
/// Shapes    x f32 [1797, 64], the pixels 0 .. 16 scaled to 0 .. 1; labels i64 [1797], 0 .. 9.
/// Throws    IoError for a file that is missing, not gzip, damaged or cut short, empty, or whose lines are not
///           64 pixels and a label.
/// Example   auto [train, test] = nn::split(nn::read_digits(), 1437, random);
Dataset read_digits(Location where = Location::current());
Dataset read_digits(const std::string& path, Location where = Location::current());

}  // namespace ebb::nn
