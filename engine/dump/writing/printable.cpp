#include <ebb/engine/dump/graph.h>
#include <fmt/format.h>

namespace ebb {

// Overlong forms, surrogates and code points past U+10FFFF are none, as XML would reject them.
std::size_t utf8_sequence(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  const std::size_t n = lead < 0x80                   ? 1
                        : lead >= 0xc2 && lead < 0xe0 ? 2
                        : lead >= 0xe0 && lead < 0xf0 ? 3
                        : lead >= 0xf0 && lead < 0xf5 ? 4
                                                      : 0;
  if (n == 0 || text.size() < n) return 0;
  for (std::size_t i = 1; i < n; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if (n > 2) {
    const unsigned second = byte(1);
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second >= 0xa0) || (lead == 0xf0 && second < 0x90) ||
        (lead == 0xf4 && second >= 0x90)) {
      return 0;
    }
  }
  return n;
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t n = utf8_sequence(text);
    const unsigned byte = static_cast<unsigned char>(text[0]);
    if (byte == '\n') {
      out += "\\n";
    } else if (byte == '\t') {
      out += "\\t";
    } else if (n == 0 || byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else if (n == 2 && byte == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0) {  // control characters, too
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(text[1]));
    } else {
      out += text.substr(0, n);
    }
    text.remove_prefix(n == 0 ? 1 : n);
  }
  return out;
}

std::string shortened(std::string_view whole, std::size_t longest) {
  std::string text = printable(whole);
  if (columns(text) <= longest) return text;
  std::size_t end = 0;
  for (std::size_t column = 0; column < longest; ++column) {
    do {
      ++end;
    } while ((static_cast<unsigned char>(text[end]) & 0xc0) == 0x80);  // to the end of the code point
  }
  return text.substr(0, end) + "...";
}

std::size_t columns(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const unsigned byte = static_cast<unsigned char>(text[i]);
    const unsigned next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0;
    // Accents that combine with the letter before, U+0300 to U+036F, take no column.
    if (byte == 0xcc || (byte == 0xcd && next < 0xb0) || (byte & 0xc0) == 0x80) continue;
    ++count;
  }
  return count;
}

}  // namespace ebb
