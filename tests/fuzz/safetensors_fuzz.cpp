// Any bytes as a safetensors file. An i8 becomes an i64: eight bytes for one.
#include <ebb/engine/io/safetensors.h>

#include "tests/fuzz/reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return ebb::test::check_reader(data, size, 8, [](std::span<const std::byte> bytes) {
    for (const auto& [name, tensor] : ebb::parse_safetensors(bytes).tensors) ebb::test::use(tensor);
  });
}
