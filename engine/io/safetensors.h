// Safetensors: named tensors in one file, the form in which weights travel.
//
// Eight bytes of length, a JSON header, then the elements. A file is held to all that the format promises - every byte
// of data belongs to exactly one tensor - so what loads is what was saved. Nothing is allocated on a file's word: the
// header is bounded, and a tensor's bytes are known to be in the file before memory is asked for.
#pragma once

#include <ebb/engine/error.h>
#include <ebb/engine/tensor/tensor.h>

#include <functional>
#include <map>
#include <span>
#include <string>

namespace ebb {

/// Tensors by name, in the order of their names.
using TensorMap = std::map<std::string, Tensor, std::less<>>;
/// What a file says about itself, text by key.
using Metadata = std::map<std::string, std::string, std::less<>>;

struct Safetensors {
  TensorMap tensors;
  Metadata metadata;
};

/// All of a safetensors file. F32, F64, I64 and BOOL are read as they are, F16 and BF16 become f32, all other integers
/// i64.
///
/// Throws    IoError for a file that is missing or unreadable, and for one that is not a sound safetensors file: cut
///           short, with a header that is no such JSON or names a tensor twice, with tensors that overlap, leave gaps
///           or do not have the size of their shape; for a dtype that Ebb does not read, more than 8 axes, a bool that
///           is neither 0 nor 1, a U64 past i64.
/// Example   const auto [tensors, metadata] = load_safetensors("model.safetensors");
Safetensors load_safetensors(const std::string& path, Location where = Location::current());
/// The same from memory.
Safetensors parse_safetensors(std::span<const std::byte> bytes, Location where = Location::current());

/// Writes a safetensors file, whole or not at all: a file that was there stays until the new one is on the disk.
///
/// Throws    UsageError for a tensor without values, a name or text that is not UTF-8, or the name `__metadata__`;
///           IoError if it is no file or cannot be written.
/// Example   save_safetensors("model.safetensors", {{"fc1.weight", w}}, {{"format", "ebb"}});
void save_safetensors(const std::string& path, const TensorMap& tensors, const Metadata& metadata = {},
                      Location where = Location::current());

}  // namespace ebb
