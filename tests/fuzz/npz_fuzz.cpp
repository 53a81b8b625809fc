// Any bytes as an .npz archive: as an .npy file, after deflate has made up to 1,032 bytes of one.
#include <ebb/engine/io/npy.h>

#include "tests/fuzz/reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return ebb::test::check_reader(data, size, std::size_t{16} * 1032, [](std::span<const std::byte> bytes) {
    for (const auto& [name, tensor] : ebb::parse_npz(bytes, 1 << 24)) ebb::test::use(tensor);
  });
}
