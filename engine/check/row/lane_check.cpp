#include <ebb/engine/check/row/lane_check.h>

#include <ebb/engine/check/row/samples.h>
#include <ebb/engine/lanes/isa.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>

namespace ebb {
namespace {

constexpr std::array<std::size_t, 19> kLengths{0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 35, 63, 65, 100};
constexpr unsigned char kGuard = 0xA5;
constexpr std::size_t kRoom = 64;  // of guards, a pack of the widest instruction set

// Inputs of a lane: bool for a condition, T otherwise.
template <class T>
struct Inputs {
  std::array<std::vector<T>, LaneCall::kMaxArity> values;
  std::unique_ptr<bool[]> condition;
  std::array<const void*, LaneCall::kMaxArity> in{};

  Inputs(const Row& row, std::size_t n, std::mt19937_64& bits) : condition(new bool[n]) {
    std::uniform_real_distribution<double> real(row.domain.lo, row.domain.hi);
    for (std::size_t k = 0; k < static_cast<std::size_t>(row.arity); ++k) {
      for (std::size_t i = 0; i < n; ++i) {
        values[k].push_back(static_cast<T>(real(bits) * (std::is_integral_v<T> ? 9 : 1)));
      }
      in[k] = values[k].data();
    }
    for (std::size_t i = 0; i < n; ++i) condition[i] = bits() % 2 != 0;
    if (row.signature == Signature::select) in[0] = condition.get();
  }
  long double at(const Row& row, std::size_t k, std::size_t i) const {
    if (row.signature == Signature::select && k == 0) return condition[i] ? 1 : 0;
    return static_cast<long double>(values[k][i]);
  }
};

template <class T>
class LaneCheck {
 public:
  LaneCheck(const Row& row, std::vector<std::string>& failures)
      : row_(row),
        failures_(failures),
        arity_(static_cast<std::size_t>(row.arity)),
        size_(row.signature == Signature::predicate ? 1 : sizeof(T)) {}

  std::size_t run() {
    for (std::size_t isa = 0; isa < kIsaCount; ++isa) {
      const LaneTable* const table = row_.lanes[isa];
      // A row from outside of the library has one set of lanes, which stand for all.
      if (!supported(Isa(isa)) || !table || (isa > 0 && table == row_.lanes[isa - 1])) continue;
      const Lane lane = table->by_dtype[static_cast<std::size_t>(dtype_of<T>)];
      if (!lane) continue;
      isa_ = kIsaNames[isa];
      std::mt19937_64 bits(7);
      bool good = true;
      for (const std::size_t n : kLengths) {
        const Inputs<T> inputs(row_, n + 1, bits);
        for (unsigned steps = 0; good && steps < 1U << arity_; ++steps) good = call(lane, inputs, n, steps);
      }
      same_bits(lane);
    }
    return calls_;
  }

 private:
  void fail(const std::string& what) {
    failures_.push_back(fmt::format("lanes {} {}: {}", name(dtype_of<T>), isa_, what));
  }

  static LaneCall call_of(const Inputs<T>& inputs, void* out, std::size_t n, unsigned steps) {
    LaneCall call;
    call.in = inputs.in;
    call.out = out;
    call.n = static_cast<std::int64_t>(n);
    call.steps = steps;
    return call;
  }

  // One run of n elements; an input advances where its bit of `steps` is set. A guard after the end catches a store
  // past it.
  bool call(Lane lane, const Inputs<T>& inputs, std::size_t n, unsigned steps) {
    ++calls_;
    std::vector<unsigned char> out(n * size_ + kRoom, kGuard);
    lane(call_of(inputs, out.data(), n, steps));
    if (std::any_of(out.begin() + static_cast<std::ptrdiff_t>(n * size_), out.end(),
                    [](unsigned char c) { return c != kGuard; })) {
      fail(fmt::format("wrote past the end of {} elements", n));
      return false;
    }
    for (std::size_t i = 0; i < n; ++i) {
      std::array<long double, LaneCall::kMaxArity> x{};
      for (std::size_t k = 0; k < arity_; ++k) x[k] = inputs.at(row_, k, (steps >> k & 1) != 0 ? i : 0);
      const long double want = row_.oracle(x.data());
      double got = out[i];
      bool good = got == static_cast<double>(want != 0);
      if (row_.signature != Signature::predicate) {
        T value;
        std::memcpy(&value, out.data() + i * size_, size_);
        got = static_cast<double>(value);
        good = within_ulp(got, want, want, row_.ulp, std::is_integral_v<T> ? DType::f64 : dtype_of<T>);
      }
      if (good) continue;
      fail(fmt::format("element {} of {} with operands moving {:b} is {:.17g}, should be {:.17g}", i, n, steps, got,
                       static_cast<double>(want)));
      return false;
    }
    return true;
  }

  // Lanes are made of + - * / sqrt, which round once: they have the same bits on every instruction set.
  void same_bits(Lane lane) {
    ++calls_;
    std::mt19937_64 bits(13);
    const Inputs<T> inputs(row_, 1000, bits);
    std::vector<unsigned char> out(1000 * size_);
    lane(call_of(inputs, out.data(), 1000, (1U << arity_) - 1));
    if (first_.empty()) first_ = out;
    if (out != first_) fail(fmt::format("the bits differ from those of {}", kIsaNames[0]));
  }

  const Row& row_;
  std::vector<std::string>& failures_;
  std::size_t arity_;
  std::size_t size_;  // of an element of the output
  std::string_view isa_;
  std::vector<unsigned char> first_;
  std::size_t calls_ = 0;
};

}  // namespace

std::size_t check_lanes(const Row& row, std::vector<std::string>& failures) {
  if (!row.oracle) return 0;
  return LaneCheck<float>(row, failures).run() + LaneCheck<double>(row, failures).run() +
         LaneCheck<std::int64_t>(row, failures).run();
}

}  // namespace ebb
