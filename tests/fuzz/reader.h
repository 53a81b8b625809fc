// What holds for every reader of bytes from outside: it returns or throws an IoError, and it asks for memory in
// proportion to the bytes that are there.
#pragma once

#include <ebb/engine/error.h>
#include <ebb/engine/tensor/buffer.h>
#include <ebb/engine/tensor/tensor.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

namespace ebb::test {

/// Ends the process: a fuzzer's way of failing.
[[noreturn]] inline void broken(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

/// Reads every element, so that a sanitizer sees each byte that the reader should have written.
inline void use(const Tensor& tensor) {
  const std::span bytes(tensor.raw(), tensor.has_buffer() ? tensor.bytes() : 0);
  unsigned sum = 0;
  for (const std::byte byte : bytes) sum += static_cast<unsigned>(byte);
  volatile unsigned sink = sum;
  static_cast<void>(sink);
}

/// Runs `read` on the bytes. Tensors may take up to `growth` bytes for each of them, all counted.
template <class Read>
int check_reader(const std::uint8_t* data, std::size_t size, std::size_t growth, Read read) {
  reset_peak_memory();
  const std::size_t before = memory_report().peak;
  try {
    read(std::as_bytes(std::span(data, size)));
  } catch (const IoError&) {  // as documented; anything else is a find
  }
  if (memory_report().peak - before > growth * size + 4096) broken("the reader asked for more memory than it may");
  return 0;
}

}  // namespace ebb::test
