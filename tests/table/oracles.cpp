// Naive long double loops for the rows that are not elementwise. They are written from the documentation, index by
// index.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "tests/table/table.h"

namespace ebb::test {
namespace {

using Index = std::vector<std::int64_t>;
using Inputs = std::vector<Dense>;

// Calls f(index, position) for every element, in row-major order.
template <class F>
void each(const Shape& shape, F f) {
  Index index(static_cast<std::size_t>(shape.rank()), 0);
  const std::int64_t n = shape.numel();
  for (std::int64_t i = 0; i < n; ++i) {
    f(index, static_cast<std::size_t>(i));
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      if (++index[static_cast<std::size_t>(axis)] < shape[axis]) break;
      index[static_cast<std::size_t>(axis)] = 0;
    }
  }
}

// The position of an index in a tensor; trailing axes are aligned and a size of 1 repeats.
std::size_t position(const Shape& shape, const Index& index) {
  std::int64_t at = 0;
  const std::size_t extra = index.size() - static_cast<std::size_t>(shape.rank());
  for (int axis = 0; axis < shape.rank(); ++axis) {
    at = at * shape[axis] + (shape[axis] == 1 ? 0 : index[extra + static_cast<std::size_t>(axis)]);
  }
  return static_cast<std::size_t>(at);
}

Expected exact(Dense value) {
  Expected out{std::move(value), {}};
  out.scale = out.value.at;
  return out;
}

Dense make(const Shape& shape) { return {shape, std::vector<long double>(static_cast<std::size_t>(shape.numel()))}; }

template <class F>
Expected moved(const Shape& shape, const Dense& x, F from) {
  Dense out = make(shape);
  each(shape, [&](const Index& index, std::size_t i) { out.at[i] = x.at[position(x.shape, from(index))]; });
  return exact(std::move(out));
}

Expected reduction(const Row& row, const Inputs& in, const Attrs& attrs) {
  struct Fold {
    long double start;
    long double (*step)(long double, long double);
  };
  const auto add = [](long double a, long double b) { return a + b; };
  static const std::map<std::string_view, Fold> folds{
      {"sum", {0, add}},
      {"mean", {0, add}},
      {"prod", {1, [](long double a, long double b) { return a * b; }}},
      {"max", {-INFINITY, [](long double a, long double b) { return std::max(a, b); }}},
      {"min", {INFINITY, [](long double a, long double b) { return std::min(a, b); }}},
      {"any", {0, [](long double a, long double b) { return std::max(a, b); }}},
      {"all", {1, [](long double a, long double b) { return std::min(a, b); }}},
  };
  const Fold& fold = folds.at(row.name);
  const IntList& axes = attrs.list("axes");
  const Shape kept = reduced_shape(in[0].shape, axes, true);
  Expected out{make(kept), std::vector<long double>(static_cast<std::size_t>(kept.numel()))};
  std::fill(out.value.at.begin(), out.value.at.end(), fold.start);
  each(in[0].shape, [&](const Index& index, std::size_t i) {
    const std::size_t to = position(kept, index);
    out.value.at[to] = fold.step(out.value.at[to], in[0].at[i]);
    out.scale[to] += std::abs(in[0].at[i]);
  });
  const long double n = static_cast<long double>(in[0].shape.numel()) / static_cast<long double>(kept.numel());
  for (std::size_t i = 0; i < out.scale.size(); ++i) {
    if (row.name == "mean") {
      out.value.at[i] /= n;
      out.scale[i] /= n;
    } else if (row.name == "prod") {
      out.scale[i] = n * out.value.at[i];
    }
  }
  out.value.shape = reduced_shape(in[0].shape, axes, attrs.flag("keepdim"));
  return out;
}

// The mean in two parts, of which the low one is within rounding of 0; and the squared deviations from it.
Expected moments(const Row& row, const Inputs& in, const Attrs& attrs, DType dtype) {
  const IntList& axes = attrs.list("axes");
  const Shape kept = reduced_shape(in[0].shape, axes, true);
  const long double n = static_cast<long double>(in[0].shape.numel()) / static_cast<long double>(kept.numel());
  std::vector<long double> mean(static_cast<std::size_t>(kept.numel()));
  Expected out{make(kept), std::vector<long double>(mean.size())};
  each(in[0].shape, [&](const Index& index, std::size_t i) { mean[position(kept, index)] += in[0].at[i] / n; });
  each(in[0].shape, [&](const Index& index, std::size_t i) {
    const std::size_t to = position(kept, index);
    const long double deviation = in[0].at[i] - mean[to];
    if (row.name == "squared_deviations") {
      out.value.at[to] += deviation * deviation;
      // What is smaller underflows in f32, or is the rounding of the mean: it is carried in f64 whatever the dtype.
      const long double rounding = dtype == DType::f64 ? 0x1p-52L : 1e-20L;
      out.scale[to] += deviation * deviation + 1e-33L + rounding * in[0].at[i] * in[0].at[i];
    } else {
      out.value.at[to] = row.name == "mean_high" ? mean[to] : 0;
      out.scale[to] += std::abs(in[0].at[i]) / n;
    }
  });
  out.value.shape = reduced_shape(in[0].shape, axes, attrs.flag("keepdim"));
  return out;
}

// The position of the first extremum among the reduced axes.
Expected place(const Row& row, const Inputs& in, const Attrs& attrs) {
  const IntList& axes = attrs.list("axes");
  const Shape& shape = in[0].shape;
  const Shape kept = reduced_shape(shape, axes, true);
  std::vector<long double> best(static_cast<std::size_t>(kept.numel()));
  Dense out = make(kept);
  std::fill(out.at.begin(), out.at.end(), -1);
  each(shape, [&](const Index& index, std::size_t i) {
    std::int64_t at = 0;
    for (const std::int64_t axis : axes)
      at = at * shape[static_cast<int>(axis)] + index[static_cast<std::size_t>(axis)];
    const std::size_t to = position(kept, index);
    const long double x = row.name == "argmax" ? in[0].at[i] : -in[0].at[i];
    const bool first_nan = std::isnan(x) && !std::isnan(best[to]);
    if (out.at[to] >= 0 && !(x > best[to]) && !first_nan) return;
    best[to] = x;
    out.at[to] = static_cast<long double>(at);
  });
  out.shape = reduced_shape(shape, axes, attrs.flag("keepdim"));
  return exact(std::move(out));
}

// Every lane from the start, element by element. f32 is carried in double, which is as good as exact; in f64 every step
// rounds.
Expected scan(const Row& row, const Inputs& in, const Attrs& attrs, DType dtype) {
  const Shape& shape = in[0].shape;
  const auto axis = static_cast<std::size_t>(attrs.integer("axis"));
  const std::int64_t n = shape[static_cast<int>(axis)];
  Expected out{make(shape), std::vector<long double>(static_cast<std::size_t>(shape.numel()))};
  each(shape, [&](const Index& start, std::size_t) {
    if (start[axis] != 0) return;
    long double value = row.name == "cumprod" ? 1 : 0;
    long double size = value;
    for (std::int64_t k = 0; k < n; ++k) {
      Index index = start;
      index[axis] = attrs.flag("reverse") ? n - 1 - k : k;
      const std::size_t i = position(shape, index);
      const long double a = row.name == "cumsum" ? 1 : in[0].at[i];
      const long double b = row.name == "cumsum" ? in[0].at[i] : row.name == "cumprod" ? 0 : in[1].at[i];
      value = a * value + b;
      size = std::abs(a) * size + std::abs(b);
      // What has left the range of the carry does not come back; what was denormal has lost its digits.
      if (std::abs(value) > std::numeric_limits<double>::max()) value = std::copysign(INFINITY, value);
      if (value != 0 && std::abs(value) < std::numeric_limits<double>::min()) size = INFINITY;
      out.value.at[i] = value;
      out.scale[i] = size * static_cast<long double>(dtype == DType::f64 ? k + 1 : 1);
    }
  });
  return out;
}

Expected argsort(const Inputs& in, const Attrs& attrs) {
  const Shape& shape = in[0].shape;
  const auto axis = static_cast<std::size_t>(attrs.integer("axis"));
  Shape of_places = shape;
  of_places[static_cast<int>(axis)] = attrs.integer("first");
  Dense out = make(of_places);
  each(shape, [&](const Index& start, std::size_t) {
    if (start[axis] != 0) return;
    const auto at = [&](std::int64_t k, const Shape& of) {
      Index index = start;
      index[axis] = k;
      return position(of, index);
    };
    std::vector<std::int64_t> order(static_cast<std::size_t>(shape[static_cast<int>(axis)]));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
      const auto value = [&](std::int64_t k) { return in[0].at[at(k, shape)]; };
      return attrs.flag("descending") ? value(a) > value(b) : value(a) < value(b);
    });
    for (std::int64_t k = 0; k < of_places[static_cast<int>(axis)]; ++k) {
      out.at[at(k, of_places)] = static_cast<long double>(order[static_cast<std::size_t>(k)]);
    }
  });
  return exact(std::move(out));
}

// Words of the host's generator: 64 bits each, or two of 32.
Expected random_bits(const Inputs& in, const Attrs& attrs) {
  Dense out = make(attrs.list("shape").shape());
  Random random(static_cast<std::uint64_t>(in[0].at[0]), static_cast<std::uint64_t>(in[1].at[0]));
  const std::int64_t bits = attrs.integer("bits");
  for (std::size_t i = 0; i < out.at.size(); ++i) {
    if (bits > 32) {
      out.at[i] = static_cast<long double>(random.bits() >> (64 - bits));
      continue;
    }
    random.seek(i / 2);
    const std::uint64_t word = random.bits() >> (i % 2 * 32) & 0xffffffff;
    out.at[i] = static_cast<long double>(word >> (32 - bits));
  }
  return exact(std::move(out));
}

// The root of Phi(x) = p, by Newton's method from the host's value.
Expected normal_quantile(const Inputs& in) {
  Dense out = in[0];
  for (long double& x : out.at) {
    const long double p = x;
    x = ebb::normal_quantile(static_cast<double>(p));
    for (int i = 0; i < 3; ++i) {
      const long double error = std::erfc(-x / std::sqrt(2.0L)) / 2 - p;
      x -= error * std::sqrt(2 * std::acos(-1.0L)) * std::exp(x * x / 2);
    }
  }
  return exact(std::move(out));
}

Expected matmul(const Inputs& in, const Attrs& attrs) {
  const auto flipped = [](const Dense& x, bool flip) {
    if (!flip) return x;
    Shape shape = x.shape;
    std::swap(shape[shape.rank() - 1], shape[shape.rank() - 2]);
    return moved(shape, x,
                 [](Index i) {
                   std::swap(i[i.size() - 1], i[i.size() - 2]);
                   return i;
                 })
        .value;
  };
  const Dense a = flipped(in[0], attrs.flag("transpose_a"));
  const Dense b = flipped(in[1], attrs.flag("transpose_b"));
  const auto lead = [](const Shape& s) { return Shape(s.sizes().first(static_cast<std::size_t>(s.rank() - 2))); };
  Shape shape = *broadcast(lead(a.shape), lead(b.shape));
  shape.push_back(a.shape[a.shape.rank() - 2]);
  shape.push_back(b.shape[b.shape.rank() - 1]);
  Expected out{make(shape), std::vector<long double>(static_cast<std::size_t>(shape.numel()))};
  each(shape, [&](const Index& index, std::size_t i) {
    for (std::int64_t k = 0; k < a.shape[a.shape.rank() - 1]; ++k) {
      Index left = index;
      Index right = index;
      left.back() = k;
      right[right.size() - 2] = k;
      const long double product = a.at[position(a.shape, left)] * b.at[position(b.shape, right)];
      out.value.at[i] += product;
      out.scale[i] += std::abs(product);
    }
  });
  return out;
}

Expected gather(const Inputs& in, const Attrs& attrs) {
  const auto axis = static_cast<std::size_t>(attrs.integer("axis"));
  Dense out = make(in[1].shape);
  each(in[1].shape, [&](Index index, std::size_t i) {
    index[axis] = static_cast<std::int64_t>(in[1].at[i]);
    out.at[i] = in[0].at[position(in[0].shape, index)];
  });
  return exact(std::move(out));
}

Expected scatter_add(const Inputs& in, const Attrs& attrs) {
  const auto axis = static_cast<std::size_t>(attrs.integer("axis"));
  Expected out = exact(in[0]);
  for (long double& v : out.scale) v = std::abs(v);
  each(in[1].shape, [&](Index index, std::size_t i) {
    index[axis] = static_cast<std::int64_t>(in[1].at[i]);
    out.value.at[position(in[0].shape, index)] += in[2].at[i];
    out.scale[position(in[0].shape, index)] += std::abs(in[2].at[i]);
  });
  return out;
}

Expected slice(const Inputs& in, const Attrs& attrs) {
  Shape shape = in[0].shape;
  for (int i = 0; i < shape.rank(); ++i) {
    shape[i] = 0;
    const auto k = static_cast<std::size_t>(i);
    for (std::int64_t at = attrs.list("starts")[k]; at < attrs.list("stops")[k]; at += attrs.list("steps")[k])
      ++shape[i];
  }
  return moved(shape, in[0], [&](Index index) {
    for (std::size_t k = 0; k < index.size(); ++k) {
      index[k] = attrs.list("starts")[k] + index[k] * attrs.list("steps")[k];
    }
    return index;
  });
}

Expected pad(const Inputs& in, const Attrs& attrs) {
  Shape shape = in[0].shape;
  for (int i = 0; i < shape.rank(); ++i) {
    const auto k = static_cast<std::size_t>(i);
    const std::int64_t gaps = shape[i] > 0 ? (shape[i] - 1) * attrs.list("interior")[k] : 0;
    shape[i] += attrs.list("low")[k] + attrs.list("high")[k] + gaps;
  }
  Dense out = make(shape);
  std::fill(out.at.begin(), out.at.end(), attrs.real("value"));
  each(in[0].shape, [&](Index index, std::size_t i) {
    for (std::size_t k = 0; k < index.size(); ++k) {
      index[k] = attrs.list("low")[k] + index[k] * (attrs.list("interior")[k] + 1);
    }
    out.at[position(shape, index)] = in[0].at[i];
  });
  return exact(std::move(out));
}

Expected concat(const Inputs& in, const Attrs& attrs) {
  const int axis = static_cast<int>(attrs.integer("axis"));
  Shape shape = in[0].shape;
  shape[axis] = 0;
  for (const Dense& x : in) shape[axis] += x.shape[axis];
  Dense out = make(shape);
  std::int64_t start = 0;
  for (const Dense& x : in) {
    each(x.shape, [&](Index index, std::size_t i) {
      index[static_cast<std::size_t>(axis)] += start;
      out.at[position(shape, index)] = x.at[i];
    });
    start += x.shape[axis];
  }
  return exact(std::move(out));
}

Expected permute(const Inputs& in, const Attrs& attrs) {
  const IntList& dims = attrs.list("dims");
  Shape shape = in[0].shape;
  for (int i = 0; i < shape.rank(); ++i) shape[i] = in[0].shape[static_cast<int>(dims[static_cast<std::size_t>(i)])];
  return moved(shape, in[0], [&](const Index& index) {
    Index from = index;
    for (std::size_t i = 0; i < index.size(); ++i) from[static_cast<std::size_t>(dims[i])] = index[i];
    return from;
  });
}

Expected flip(const Inputs& in, const Attrs& attrs) {
  return moved(in[0].shape, in[0], [&](Index index) {
    for (const std::int64_t axis : attrs.list("axes")) {
      std::int64_t& i = index[static_cast<std::size_t>(axis)];
      i = in[0].shape[static_cast<int>(axis)] - 1 - i;
    }
    return index;
  });
}

Expected cross_entropy(const Inputs& in, bool gradient) {
  const std::int64_t n = in[0].shape[0];
  const std::int64_t classes = in[0].shape[1];
  Expected out{make(gradient ? in[0].shape : Shape{n}), {}};
  for (std::int64_t i = 0; i < n; ++i) {
    const long double* const x = in[0].at.data() + i * classes;
    const auto row = static_cast<std::size_t>(i);
    const auto label = static_cast<std::int64_t>(in[1].at[row]);
    long double total = 0;
    for (std::int64_t c = 0; c < classes; ++c) total += std::exp(x[c]);
    if (!gradient) {
      out.value.at[row] = std::log(total) - x[label];
      out.scale.push_back(std::log(total) + std::abs(x[label]) + 1);
      continue;
    }
    for (std::int64_t c = 0; c < classes; ++c) {
      const long double ct = in[2].at[row];
      out.value.at[static_cast<std::size_t>(i * classes + c)] = (std::exp(x[c]) / total - (c == label ? 1 : 0)) * ct;
      out.scale.push_back(std::abs(ct));
    }
  }
  return out;
}

using Oracle = std::function<Expected(const RowSample&, const Inputs&, const Attrs&)>;

const std::map<std::string_view, Oracle>& oracles() {
  const auto same = [](const RowSample&, const Inputs& in, const Attrs&) { return exact(in[0]); };
  const auto reduce = [](const RowSample& s, const Inputs& in, const Attrs& a) { return reduction(*s.row, in, a); };
  const auto of_moments = [](const RowSample& s, const Inputs& in, const Attrs& a) {
    return moments(*s.row, in, a, s.inputs[0].dtype());
  };
  const auto argument = [](const RowSample& s, const Inputs& in, const Attrs& a) { return place(*s.row, in, a); };
  const auto running = [](const RowSample& s, const Inputs& in, const Attrs& a) {
    return scan(*s.row, in, a, s.inputs[0].dtype());
  };
  const auto to_shape = [](const RowSample&, const Inputs& in, const Attrs& a) {
    return moved(a.list("shape").shape(), in[0], [](const Index& index) { return index; });
  };
  static const std::map<std::string_view, Oracle> table{
      {"sum", reduce},
      {"mean", reduce},
      {"mean_high", of_moments},
      {"mean_low", of_moments},
      {"squared_deviations", of_moments},
      {"max", reduce},
      {"min", reduce},
      {"prod", reduce},
      {"any", reduce},
      {"all", reduce},
      {"argmax", argument},
      {"argmin", argument},
      {"cumsum", running},
      {"cumprod", running},
      {"linear_recurrence", running},
      {"argsort", [](const RowSample&, const Inputs& in, const Attrs& a) { return argsort(in, a); }},
      {"random_bits", [](const RowSample&, const Inputs& in, const Attrs& a) { return random_bits(in, a); }},
      {"normal_quantile", [](const RowSample&, const Inputs& in, const Attrs&) { return normal_quantile(in); }},
      {"iota",
       [](const RowSample&, const Inputs&, const Attrs& a) {
         Dense out = make(Shape{a.integer("n")});
         std::iota(out.at.begin(), out.at.end(), 0);
         return exact(std::move(out));
       }},
      {"broadcast_to", to_shape},
      {"detach", same},
      {"unrecorded", same},
      {"reshape",
       [](const RowSample&, const Inputs& in, const Attrs& a) {
         return exact({a.list("shape").shape(), in[0].at});
       }},
      {"cast",
       [](const RowSample&, const Inputs& in, const Attrs& a) {
         Dense out = in[0];
         const DType to{static_cast<std::uint8_t>(a.integer("dtype"))};
         for (long double& v : out.at)
           v = to == DType::i64 ? std::trunc(v) : to == DType::f32 ? static_cast<float>(v) : v;
         return exact(std::move(out));
       }},
      {"matmul", [](const RowSample&, const Inputs& in, const Attrs& a) { return matmul(in, a); }},
      {"gather", [](const RowSample&, const Inputs& in, const Attrs& a) { return gather(in, a); }},
      {"scatter_add", [](const RowSample&, const Inputs& in, const Attrs& a) { return scatter_add(in, a); }},
      {"slice", [](const RowSample&, const Inputs& in, const Attrs& a) { return slice(in, a); }},
      {"pad", [](const RowSample&, const Inputs& in, const Attrs& a) { return pad(in, a); }},
      {"concat", [](const RowSample&, const Inputs& in, const Attrs& a) { return concat(in, a); }},
      {"permute", [](const RowSample&, const Inputs& in, const Attrs& a) { return permute(in, a); }},
      {"flip", [](const RowSample&, const Inputs& in, const Attrs& a) { return flip(in, a); }},
      {"cross_entropy", [](const RowSample&, const Inputs& in, const Attrs&) { return cross_entropy(in, false); }},
      {"cross_entropy_grad", [](const RowSample&, const Inputs& in, const Attrs&) { return cross_entropy(in, true); }},
  };
  return table;
}

}  // namespace

bool has_oracle(const Row& row) { return row.oracle || oracles().contains(row.name); }

Expected expected(const RowSample& sample, const std::vector<Dense>& inputs) {
  if (sample.row->oracle) return expected_elementwise(sample, inputs);
  return oracles().at(sample.row->name)(sample, inputs, Attrs(sample.attrs));
}

}  // namespace ebb::test
