// Any bytes as an .npy file. An i1 becomes an i8, and Fortran order is turned in a second buffer: sixteen bytes for
// one.
#include <ebb/engine/io/npy.h>

#include "tests/fuzz/reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return ebb::test::check_reader(data, size, 16,
                                 [](std::span<const std::byte> bytes) { ebb::test::use(ebb::parse_npy(bytes)); });
}
