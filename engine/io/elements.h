// The element types of files, and which tensor each becomes.
//
// f32, f64, i64 and bool are read and written as they are. What else a file may hold is read where every value
// survives: narrower floats become f32, narrower integers i64. The rest is refused by name rather than rounded in
// silence.
#pragma once

#include <ebb/engine/io/source.h>
#include <ebb/engine/tensor/tensor.h>

#include <optional>
#include <string_view>

namespace ebb {

struct Element {
  enum class Kind : std::uint8_t { boolean, integer, natural, real, brain };

  Kind kind;
  std::uint8_t size;             // bytes
  DType dtype;                   // of the tensor it is read into
  std::string_view safetensors;  // as the header spells it
  std::string_view numpy;        // without the byte order; empty where NumPy has none
};

/// The element type of this spelling, or nothing.
const Element* element_of_safetensors(std::string_view name);
const Element* element_of_numpy(std::string_view name);
/// What tensors of a dtype are written as.
const Element& element_of(DType dtype);

/// The bytes that a shape's elements take, or nothing past 2^63 - 1.
std::optional<std::uint64_t> bytes_of(const Element& element, const Shape& shape);

/// Reads a tensor from the stream, row-major. The caller has checked that its bytes are there. Throws IoError, said by
/// the source, for a bool that is neither 0 nor 1 and for an integer past i64.
Tensor read_elements(Stream& stream, const Source& source, const Element& element, bool big_endian, const Shape& shape);

/// Parses a shape's sizes. Throws IoError, said by the source, for more axes than tensors have or too many elements.
Shape shape_of(const Source& source, const Element& element, std::span<const std::uint64_t> sizes);

}  // namespace ebb
