#include <ebb/engine/error.h>
#include <ebb/engine/row/attrs.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace ebb {

IntList::IntList(std::span<const std::int64_t> values) {
  for (std::int64_t value : values) push_back(value);
}

void IntList::push_back(std::int64_t value) {
  if (size_ == kCapacity) {
    throw UsageError(fmt::format("attribute: a list holds at most {} integers", kCapacity));
  }
  values_[size_++] = value;
}

bool IntList::contains(std::int64_t value) const { return std::find(begin(), end(), value) != end(); }

bool IntList::operator==(const IntList& other) const { return std::equal(begin(), end(), other.begin(), other.end()); }

bool Attrs::operator==(const Attrs& other) const { return std::ranges::equal(list_, other.list_); }

template <class T>
const T& Attrs::get(std::string_view name) const {
  for (const Attr& attr : list_) {
    // Mostly it is the same literal.
    if ((attr.name.data() == name.data() && attr.name.size() == name.size()) || attr.name == name) {
      if (const T* value = std::get_if<T>(&attr.value)) return *value;
    }
  }
  throw UsageError(fmt::format("attribute: no attribute {} of the type asked for; got {}", name, to_string(*this)));
}
template const std::int64_t& Attrs::get(std::string_view) const;
template const double& Attrs::get(std::string_view) const;
template const bool& Attrs::get(std::string_view) const;
template const std::string_view& Attrs::get(std::string_view) const;
template const IntList& Attrs::get(std::string_view) const;
template const Body& Attrs::get(std::string_view) const;

namespace {

struct Print {
  std::string operator()(std::int64_t value) const { return fmt::format("{}", value); }
  std::string operator()(double value) const { return fmt::format("{}", value); }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::string_view value) const { return std::string(value); }
  std::string operator()(const IntList& value) const {
    return fmt::format("[{}]", fmt::join(value.begin(), value.end(), ", "));
  }
  std::string operator()(const Body&) const { return "{...}"; }
};

}  // namespace

std::vector<Attr> with_floating(std::span<const Attr> attrs, DType dtype) {
  std::vector<Attr> out(attrs.begin(), attrs.end());
  for (Attr& attr : out) {
    std::int64_t* const value = std::get_if<std::int64_t>(&attr.value);
    if (attr.name == "dtype" && value && is_floating(DType(*value))) *value = static_cast<std::int64_t>(dtype);
  }
  return out;
}

std::string to_string(const Attrs& attrs) {
  std::string out;
  for (const Attr& attr : attrs.all()) {
    out += fmt::format("{}{}={}", out.empty() ? "" : ", ", attr.name, std::visit(Print{}, attr.value));
  }
  return out;
}

}  // namespace ebb
