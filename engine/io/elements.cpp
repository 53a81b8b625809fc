#include <ebb/engine/io/elements.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

namespace ebb {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are read and written as they lie in memory");

using Kind = Element::Kind;

// What tensors are written as comes first, in the order of DType.
constexpr Element kElements[] = {
    {Kind::real, 4, DType::f32, "F32", "f4"},    {Kind::real, 8, DType::f64, "F64", "f8"},
    {Kind::integer, 8, DType::i64, "I64", "i8"}, {Kind::boolean, 1, DType::boolean, "BOOL", "b1"},
    {Kind::real, 2, DType::f32, "F16", "f2"},    {Kind::brain, 2, DType::f32, "BF16", ""},
    {Kind::integer, 4, DType::i64, "I32", "i4"}, {Kind::integer, 2, DType::i64, "I16", "i2"},
    {Kind::integer, 1, DType::i64, "I8", "i1"},  {Kind::natural, 8, DType::i64, "U64", "u8"},
    {Kind::natural, 4, DType::i64, "U32", "u4"}, {Kind::natural, 2, DType::i64, "U16", "u2"},
    {Kind::natural, 1, DType::i64, "U8", "u1"},
};

const Element* find(std::string_view Element::*spelling, std::string_view name) {
  const auto* const it = std::ranges::find(kElements, name, spelling);
  return name.empty() || it == std::end(kElements) ? nullptr : it;
}

float from_half(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000) << 16;
  const std::uint32_t exponent = half >> 10 & 0x1f;
  const std::uint32_t fraction = half & 0x3ff;
  if (exponent == 0) {  // zero and subnormals: fraction * 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t wide = exponent == 0x1f ? 0xff : exponent + 112;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

template <class Word>
Word swapped(Word word) {
  auto bytes = std::bit_cast<std::array<std::byte, sizeof(Word)>>(word);
  std::ranges::reverse(bytes);
  return std::bit_cast<Word>(bytes);
}

// Converts blocks of the stream's words on their way into the tensor.
template <class Word, class T, class Convert>
void convert(Stream& stream, bool big_endian, std::span<T> to, const Convert& one) {
  std::array<Word, 4096> block;
  while (!to.empty()) {
    const std::span words = std::span(block).first(std::min(to.size(), block.size()));
    stream.read(std::as_writable_bytes(words));
    for (std::size_t i = 0; i < words.size(); ++i) to[i] = one(big_endian ? swapped(words[i]) : words[i]);
    to = to.subspan(words.size());
  }
}

template <class Signed, class Unsigned>
void read_integers(Stream& stream, bool is_signed, bool big_endian, std::span<std::int64_t> to) {
  convert<Unsigned>(stream, big_endian, to, [is_signed](Unsigned word) {
    return is_signed ? static_cast<std::int64_t>(static_cast<Signed>(word)) : static_cast<std::int64_t>(word);
  });
}

void read_integers(Stream& stream, const Source& source, const Element& element, bool big_endian,
                   std::span<std::int64_t> to) {
  const bool is_signed = element.kind == Kind::integer;
  if (element.size == 1) return read_integers<std::int8_t, std::uint8_t>(stream, is_signed, big_endian, to);
  if (element.size == 2) return read_integers<std::int16_t, std::uint16_t>(stream, is_signed, big_endian, to);
  if (element.size == 4) return read_integers<std::int32_t, std::uint32_t>(stream, is_signed, big_endian, to);
  convert<std::uint64_t>(stream, big_endian, to, [&](std::uint64_t word) {
    if (!is_signed && word > std::numeric_limits<std::int64_t>::max()) {
      source.fail(fmt::format("the unsigned value {} does not fit i64", word), "Store it as i64 or f64.");
    }
    return static_cast<std::int64_t>(word);
  });
}

}  // namespace

const Element* element_of_safetensors(std::string_view name) { return find(&Element::safetensors, name); }
const Element* element_of_numpy(std::string_view name) { return find(&Element::numpy, name); }
const Element& element_of(DType dtype) { return kElements[static_cast<std::size_t>(dtype)]; }

std::optional<std::uint64_t> bytes_of(const Element& element, const Shape& shape) {
  std::int64_t bytes = element.size;
  for (std::int64_t size : shape) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) return std::nullopt;
  }
  return static_cast<std::uint64_t>(bytes);
}

Shape shape_of(const Source& source, const Element& element, std::span<const std::uint64_t> sizes) {
  constexpr std::string_view kAdvice = "Store it in another shape.";
  if (sizes.size() > static_cast<std::size_t>(kMaxRank)) {
    source.fail(fmt::format("the shape has more than {} axes", kMaxRank), kAdvice);
  }
  // Sizes that one axis of 0 makes harmless are held to the same bound: nobody has to multiply them with care again.
  const auto largest = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  std::uint64_t product = std::max<std::uint64_t>(element.size, size_of(element.dtype));
  Shape shape;
  for (const std::uint64_t size : sizes) {
    if (__builtin_mul_overflow(product, std::max<std::uint64_t>(size, 1), &product) || product > largest) {
      source.fail(fmt::format("the shape [{}] holds more than 2^63 - 1 bytes", fmt::join(sizes, ", ")), kAdvice);
    }
    shape.push_back(static_cast<std::int64_t>(size));
  }
  return shape;
}

Tensor read_elements(Stream& stream, const Source& source, const Element& element, bool big_endian,
                     const Shape& shape) {
  Tensor tensor = Tensor::empty(shape, element.dtype);
  if (tensor.numel() == 0) return tensor;
  const std::span raw(tensor.mutable_raw(), tensor.bytes());
  switch (element.kind) {
    case Kind::real:
      if (element.size == 2) {
        convert<std::uint16_t>(stream, big_endian, tensor.mutable_data<float>(), from_half);
      } else if (!big_endian) {
        stream.read(raw);
      } else if (element.size == 4) {
        convert<std::uint32_t>(stream, true, tensor.mutable_data<float>(),
                               [](std::uint32_t word) { return std::bit_cast<float>(word); });
      } else {
        convert<std::uint64_t>(stream, true, tensor.mutable_data<double>(),
                               [](std::uint64_t word) { return std::bit_cast<double>(word); });
      }
      break;
    case Kind::brain:  // the upper half of an f32
      convert<std::uint16_t>(stream, big_endian, tensor.mutable_data<float>(), [](std::uint16_t word) {
        return std::bit_cast<float>(static_cast<std::uint32_t>(word) << 16);
      });
      break;
    case Kind::integer:
    case Kind::natural:
      read_integers(stream, source, element, big_endian, tensor.mutable_data<std::int64_t>());
      break;
    case Kind::boolean:
      stream.read(raw);
      for (const std::byte byte : raw) {
        if (byte > std::byte{1}) {
          source.fail(fmt::format("a bool is {}, neither 0 nor 1", static_cast<int>(byte)), "Store it as an integer.");
        }
      }
      break;
  }
  return tensor;
}

}  // namespace ebb
