#include <ebb/engine/check/row/samples.h>

#include <ebb/engine/row/structural.h>

#include <cmath>
#include <limits>
#include <random>

namespace ebb {
namespace {

// Elementwise calls: equal shapes, a row, a scalar, an outer product, three axes, nothing at all, and lengths around
// the widths of packs.
std::vector<std::vector<Shape>> groups(int arity) {
  if (arity == 1) return {{{3}}, {{}}, {{3, 4}}, {{0, 3}}, {{1}}, {{7}}, {{16}}, {{17}}, {{31}}, {{1025}}, {{70, 90}}};
  std::vector<std::vector<Shape>> out{
      {{3}, {3}},       {{3, 4}, {1, 4}},          {{}, {3, 4}}, {{4}, {3, 1}}, {{2, 1, 3}, {4, 1}}, {{0, 3}, {3}},
      {{0, 3}, {0, 3}}, {{2, 3, 4, 5}, {3, 1, 5}}, {{1}, {17}},  {{33}, {33}},  {{5, 19}, {5, 1}},   {{1025}, {}},
      {{70, 90}, {90}}, {{70, 1}, {70, 90}},
  };
  if (arity == 3) {
    for (auto& group : out) group.insert(group.begin(), group.back());
    out.push_back({{4, 1}, {1, 3}, {}});
    out.push_back({{}, {2, 3}, {2, 3}});
  }
  return out;
}

class Source {
 public:
  explicit Source(const Row& row) : row_(row) {}

  double real() {
    const Domain& d = row_.domain;
    for (;;) {
      const double x = std::uniform_real_distribution<double>(d.lo, d.hi)(bits_);
      if (std::abs(x - d.kink) >= d.margin) return x;
    }
  }
  std::int64_t integer(std::int64_t limit) {
    return limit > 0 ? static_cast<std::int64_t>(bits_() % static_cast<std::uint64_t>(limit)) : 0;
  }
  Tensor tensor(const Shape& shape, DType dtype, std::int64_t limit = 0) {
    Tensor out = Tensor::zeros(shape, dtype == DType::f32 ? DType::f64 : dtype);
    with_type(out.dtype(), [&]<class T>(std::type_identity<T>) {
      for (T& v : out.mutable_data<T>()) {
        if constexpr (std::is_same_v<T, bool>) {
          v = bits_() % 2 != 0;
        } else if constexpr (std::is_same_v<T, std::int64_t>) {
          v = limit > 0 ? integer(limit) : integer(13) - 6;
        } else {
          v = real();
        }
      }
    });
    return out.to(dtype);
  }

 private:
  const Row& row_;
  std::mt19937_64 bits_{20170701};
};

void describe_sample(RowSample& sample) {
  sample.what = std::string(sample.row->name);
  for (const Tensor& t : sample.inputs) sample.what += (&t == &sample.inputs[0] ? " " : ", ") + describe(t);
  if (!sample.attrs.empty()) sample.what += " {" + to_string(Attrs(sample.attrs)) + "}";
}

}  // namespace

Dense Dense::of(const Tensor& tensor) {
  Dense out{tensor.shape(), {}};
  with_type(tensor.dtype(), [&]<class T>(std::type_identity<T>) {
    for (const T v : tensor.data<T>()) out.at.push_back(static_cast<long double>(v));
  });
  return out;
}

Var RowSample::record(Tape& tape) const {
  std::vector<Operand> operands;
  for (const Tensor& t : inputs) operands.emplace_back(tape.leaf(t), Location{});
  return tape.record(*row, operands, attrs);
}

bool callable(const Row& row) { return row.kind != Kind::source && (row.oracle || row.examples); }

std::vector<RowSample> samples_of(const Row& row, DType dtype) {
  std::vector<RowSample> out;
  if (!callable(row)) return out;
  Source source(row);
  if (row.oracle) {
    if (!row.lanes[0]->by_dtype[static_cast<std::size_t>(dtype)]) return out;
    for (const auto& shapes : groups(row.arity)) {
      RowSample sample{&row, {}, {}, {}};
      for (std::size_t i = 0; i < shapes.size(); ++i) {
        const bool condition = row.signature == Signature::select && i == 0;
        sample.inputs.push_back(source.tensor(shapes[i], condition ? DType::boolean : dtype));
      }
      out.push_back(std::move(sample));
    }
  } else if (is_floating(dtype)) {
    std::vector<Example> examples = row.examples();
    if (row.kind == Kind::reduction) {  // and some that are worth a loop of their own
      for (const IntList& axes : {IntList{0}, IntList{1}, IntList{2}, IntList{0, 2}, IntList{0, 1, 2}}) {
        Example more = examples[0];
        more.inputs[0].shape = {13, 37, 19};
        for (Attr& attr : more.attrs) {
          if (attr.name == "axes") attr.value = axes;
          if (attr.name == "keepdim") attr.value = axes.size() == 1;
        }
        examples.push_back(more);
      }
    }
    for (const Example& example : examples) {
      RowSample sample{&row, {}, example.attrs, {}};
      for (const Example::Input& in : example.inputs) {
        sample.inputs.push_back(source.tensor(in.shape, is_floating(in.dtype) ? dtype : in.dtype, in.limit));
      }
      out.push_back(std::move(sample));
    }
  }
  for (RowSample& sample : out) describe_sample(sample);
  return out;
}

RowOracle reduction_oracle(std::function<Reduced(std::span<const long double>)> f) {
  return [f = std::move(f)](const RowSample& sample, const std::vector<Dense>& inputs) {
    const Attrs attrs(sample.attrs);
    const IntList& axes = attrs.list("axes");
    const Shape& shape = inputs[0].shape;
    const Shape kept = reduced_shape(shape, axes, true);
    std::vector<std::vector<long double>> groups(static_cast<std::size_t>(kept.numel()));
    for (std::int64_t i = 0; i < shape.numel(); ++i) {
      std::int64_t rest = i, at = 0, step = 1;
      for (int axis = shape.rank() - 1; axis >= 0; --axis) {
        if (!axes.contains(axis)) at += rest % shape[axis] * step;
        rest /= shape[axis];
        step *= kept[axis];
      }
      groups[static_cast<std::size_t>(at)].push_back(inputs[0].at[static_cast<std::size_t>(i)]);
    }
    Expected out;
    out.value.shape = reduced_shape(shape, axes, attrs.flag("keepdim"));
    for (const auto& group : groups) {
      const Reduced reduced = f(group);
      out.value.at.push_back(reduced.value);
      out.scale.push_back(reduced.scale);
    }
    return out;
  };
}

Expected expected_elementwise(const RowSample& sample, const std::vector<Dense>& inputs) {
  Shape shape = inputs[0].shape;
  for (const Dense& x : inputs) shape = *broadcast(shape, x.shape);
  const std::int64_t n = shape.numel();
  Expected out;
  out.value.shape = shape;
  std::vector<std::int64_t> index(static_cast<std::size_t>(shape.rank()), 0);
  for (std::int64_t i = 0; i < n; ++i) {
    std::array<long double, LaneCall::kMaxArity> x{};
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      const Shape& from = inputs[k].shape;
      const auto extra = static_cast<std::size_t>(shape.rank() - from.rank());
      std::int64_t at = 0;
      for (int axis = 0; axis < from.rank(); ++axis) {
        at = at * from[axis] + (from[axis] == 1 ? 0 : index[extra + static_cast<std::size_t>(axis)]);
      }
      x[k] = inputs[k].at[static_cast<std::size_t>(at)];
    }
    out.value.at.push_back(sample.row->oracle(x.data()));
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      if (++index[static_cast<std::size_t>(axis)] < shape[axis]) break;
      index[static_cast<std::size_t>(axis)] = 0;
    }
  }
  out.scale = out.value.at;
  return out;
}

bool within_ulp(double got, long double want, long double scale, double ulp, DType dtype) {
  if (std::isnan(want)) return std::isnan(got);
  const long double largest = dtype == DType::f32 ? static_cast<long double>(std::numeric_limits<float>::max())
                                                  : static_cast<long double>(std::numeric_limits<double>::max());
  const long double smallest = dtype == DType::f32 ? static_cast<long double>(std::numeric_limits<float>::min())
                                                   : static_cast<long double>(std::numeric_limits<double>::min());
  const long double epsilon = dtype == DType::f32 ? 0x1p-23L : 0x1p-52L;
  if (std::isinf(want) || std::abs(want) > largest) {
    return std::isinf(got) ? (got > 0) == (want > 0) : std::abs(want) < largest * (1 + ulp * epsilon);
  }
  if (std::isinf(got)) return std::abs(want) > largest * (1 - ulp * epsilon);
  // The unit in the last place of `scale`: the power of two below it, times epsilon.
  const long double size = std::max(std::abs(scale), smallest);
  const long double unit = std::exp2(std::floor(std::log2(size))) * epsilon;
  const long double error = std::abs(static_cast<long double>(got) - want);
  return error <= static_cast<long double>(ulp) * unit * (1 + 1e-9L) ||
         (std::abs(want) < smallest && error <= smallest);
}

}  // namespace ebb
