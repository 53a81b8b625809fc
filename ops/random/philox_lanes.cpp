// Philox over blocks side by side, once per instruction set: plain loops, which the compiler turns into packs.
#include <ebb/ops/random/philox.h>

namespace ebb::EBB_ISA {

void philox_blocks(std::uint64_t key, std::uint64_t stream, std::uint64_t first, PhiloxWords words) {
  std::uint32_t key0 = static_cast<std::uint32_t>(key);
  std::uint32_t key1 = static_cast<std::uint32_t>(key >> 32);
  std::uint32_t* const w0 = words[0];
  std::uint32_t* const w1 = words[1];
  std::uint32_t* const w2 = words[2];
  std::uint32_t* const w3 = words[3];
  for (std::int64_t i = 0; i < kPhiloxBlocks; ++i) {
    const std::uint64_t number = first + static_cast<std::uint64_t>(i);
    w0[i] = static_cast<std::uint32_t>(number);
    w1[i] = static_cast<std::uint32_t>(number >> 32);
    w2[i] = static_cast<std::uint32_t>(stream);
    w3[i] = static_cast<std::uint32_t>(stream >> 32);
  }
  for (int round = 0; round < 10; ++round) {
    for (std::int64_t i = 0; i < kPhiloxBlocks; ++i) {
      const std::uint64_t a = std::uint64_t{0xD2511F53} * w0[i];
      const std::uint64_t b = std::uint64_t{0xCD9E8D57} * w2[i];
      w0[i] = static_cast<std::uint32_t>(b >> 32) ^ w1[i] ^ key0;
      w1[i] = static_cast<std::uint32_t>(b);
      w2[i] = static_cast<std::uint32_t>(a >> 32) ^ w3[i] ^ key1;
      w3[i] = static_cast<std::uint32_t>(a);
    }
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
}

}  // namespace ebb::EBB_ISA
