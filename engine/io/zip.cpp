#include <ebb/engine/io/zip.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>

namespace ebb {
namespace {

// APPNOTE.TXT, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.14 to 16 (its end), 4.5.3 (64 bit).
constexpr std::uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50;
constexpr std::uint32_t kEnd64 = 0x06064b50, kLocator64 = 0x07064b50;
constexpr std::size_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22, kEnd64Size = 56, kLocator64Size = 20;
constexpr std::uint64_t kElsewhere32 = 0xffffffff, kElsewhere16 = 0xffff;
constexpr std::uint64_t kMaxRatio = 1032;  // no deflate stream unpacks to more than this times its size
constexpr std::string_view kFetchAgain = "Fetch the file again.";
constexpr std::string_view kSavez = "Save it again with numpy.savez.";

auto u16(std::string_view bytes, std::size_t at) { return little_endian<std::uint16_t>(bytes, at); }
auto u32(std::string_view bytes, std::size_t at) { return little_endian<std::uint32_t>(bytes, at); }
auto u64(std::string_view bytes, std::size_t at) { return little_endian<std::uint64_t>(bytes, at); }

struct Directory {
  std::uint64_t count, offset, size;
};

Directory find_directory(const Source& source) {
  const std::uint64_t size = source.size();
  if (size < kEndSize) source.fail(fmt::format("{} bytes are too few for an archive", size), kFetchAgain);
  // The end stands before a comment of at most 65,535 bytes that goes to the end of the file.
  const std::uint64_t tail_size = std::min<std::uint64_t>(size, kEndSize + 65535);
  const std::string tail = source.read(size - tail_size, static_cast<std::size_t>(tail_size));
  for (std::size_t at = tail.size() - kEndSize + 1; at-- > 0;) {
    const std::string_view end = std::string_view(tail).substr(at);
    if (u32(end, 0) != kEnd || u16(end, 20) != end.size() - kEndSize) continue;
    const std::uint64_t end_offset = size - end.size();
    Directory directory{u16(end, 10), u32(end, 16), u32(end, 12)};
    std::uint64_t limit = end_offset;
    bool split = u16(end, 4) != 0 || u16(end, 6) != 0 || u16(end, 8) != directory.count;
    const bool large =
        directory.count == kElsewhere16 || directory.offset == kElsewhere32 || directory.size == kElsewhere32;
    if (large && end_offset >= kLocator64Size + kEnd64Size) {
      const std::string locator = source.read(end_offset - kLocator64Size, kLocator64Size);
      if (u32(locator, 0) == kLocator64) {
        const std::uint64_t at64 = u64(locator, 8);
        if (at64 > end_offset - kLocator64Size - kEnd64Size) {
          source.fail(fmt::format("the directory's end is said to be at byte {}, beyond it", at64), kFetchAgain);
        }
        const std::string end64 = source.read(at64, kEnd64Size);
        if (u32(end64, 0) != kEnd64) source.fail("the directory's end is not where it is said to be", kFetchAgain);
        split = u32(end64, 16) != 0 || u32(end64, 20) != 0 || u64(end64, 24) != u64(end64, 32);
        directory = {u64(end64, 32), u64(end64, 48), u64(end64, 40)};
        limit = at64;
      }
    }
    if (split) source.fail("the archive is one part of several", kSavez);
    if (directory.offset > limit || directory.size > limit - directory.offset) {
      source.fail(fmt::format("the directory, bytes [{}, {} + {}), does not end before byte {}", directory.offset,
                              directory.offset, directory.size, limit),
                  kFetchAgain);
    }
    if (directory.count > directory.size / kCentralSize) {
      source.fail(fmt::format("a directory of {} bytes does not hold {} members", directory.size, directory.count),
                  kFetchAgain);
    }
    return directory;
  }
  source.fail("not a zip archive, or cut short: the directory at its end is missing", kFetchAgain);
}

// A directory entry whose numbers do not fit 32 bits has them in an extra field, in this order.
struct Wide {
  std::string_view rest;
  explicit Wide(std::string_view extra) {
    while (extra.size() >= 4) {
      const std::uint16_t id = u16(extra, 0);
      const std::size_t size = u16(extra, 2);
      extra.remove_prefix(4);
      if (size > extra.size()) return;
      if (id == 1) rest = extra.substr(0, size);
      extra.remove_prefix(size);
    }
  }
  std::uint64_t value(const Source& source, std::uint32_t narrow) {
    if (narrow != kElsewhere32) return narrow;
    if (rest.size() < 8) source.fail("a size of 64 bits is missing in the directory", kFetchAgain);
    const std::uint64_t wide = u64(rest, 0);
    rest.remove_prefix(8);
    return wide;
  }
};

// Where the member's data begin: after a header of its own, which must speak of the same member.
void check_local(const Source& source, ZipMember& member, std::uint64_t local, std::uint64_t directory,
                 std::uint16_t method) {
  if (local > directory || kLocalSize > directory - local) {
    source.fail(fmt::format("its header at byte {} lies outside the archive's data", local), kFetchAgain);
  }
  const std::string header = source.read(local, kLocalSize);
  const std::uint64_t head = kLocalSize + u16(header, 26) + std::uint64_t{u16(header, 28)};
  if (u32(header, 0) != kLocal || u16(header, 8) != method || head > directory - local ||
      source.read(local + kLocalSize, u16(header, 26)) != member.name) {
    source.fail("its header differs from the directory", kFetchAgain);
  }
  member.offset = local + head;
  if (member.packed > directory - member.offset) {
    source.fail(
        fmt::format("its {} bytes from byte {} on lie outside the archive's data", member.packed, member.offset),
        kFetchAgain);
  }
}

}  // namespace

std::vector<ZipMember> read_zip(const Source& source) {
  const Directory directory = find_directory(source);
  const std::string bytes = source.read(directory.offset, static_cast<std::size_t>(directory.size));
  std::string_view rest = bytes;

  struct Range {
    std::uint64_t begin, end;
    std::size_t member;
  };
  std::vector<ZipMember> members;
  std::vector<Range> ranges;
  std::set<std::string, std::less<>> names;
  for (std::uint64_t i = 0; i < directory.count; ++i) {
    if (rest.size() < kCentralSize || u32(rest, 0) != kCentral) {
      source.fail(fmt::format("entry {} of the directory is damaged", i), kFetchAgain);
    }
    const std::size_t name_size = u16(rest, 28);
    const std::size_t extra_size = u16(rest, 30);
    const std::size_t entry_size = kCentralSize + name_size + extra_size + u16(rest, 32);
    if (entry_size > rest.size()) source.fail(fmt::format("entry {} of the directory is damaged", i), kFetchAgain);

    ZipMember member;
    member.name = rest.substr(kCentralSize, name_size);
    const Source part = source.within(fmt::format("member {}: ", quote(member.name)));
    if (!names.insert(member.name).second) part.fail("the name is there twice", kSavez);
    if ((u16(rest, 8) & 1) != 0) part.fail("it is encrypted", kSavez);
    const std::uint16_t method = u16(rest, 10);
    if (method != 0 && method != 8) part.fail(fmt::format("packed with method {}, not deflate", method), kSavez);
    member.deflated = method == 8;
    member.crc = u32(rest, 16);
    Wide wide(rest.substr(kCentralSize + name_size, extra_size));
    member.unpacked = wide.value(part, u32(rest, 24));
    member.packed = wide.value(part, u32(rest, 20));
    const std::uint64_t local = wide.value(part, u32(rest, 42));

    check_local(part, member, local, directory.offset, method);
    if (!member.deflated && member.packed != member.unpacked) {
      part.fail(fmt::format("{} bytes are said to hold {} unpacked ones", member.packed, member.unpacked), kFetchAgain);
    }
    if (member.unpacked / kMaxRatio > member.packed) {
      part.fail(fmt::format("{} bytes cannot unpack to {}", member.packed, member.unpacked), kFetchAgain);
    }
    ranges.push_back({local, member.offset + member.packed, members.size()});
    members.push_back(std::move(member));
    rest.remove_prefix(entry_size);
  }
  if (!rest.empty()) source.fail(fmt::format("the directory has {} bytes too many", rest.size()), kFetchAgain);

  std::ranges::sort(ranges, {}, &Range::begin);
  std::vector<ZipMember> ordered;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    if (i > 0 && ranges[i].begin < ranges[i - 1].end) {
      source.fail(fmt::format("the members {} and {} overlap", quote(ordered.back().name),
                              quote(members[ranges[i].member].name)),
                  kSavez);
    }
    ordered.push_back(std::move(members[ranges[i].member]));
  }
  return ordered;
}

}  // namespace ebb
