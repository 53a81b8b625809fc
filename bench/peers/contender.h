// What a batchnorm bench needs of whoever takes part: Ebb's kernels, the libraries it is measured against, and the
// traffic twin. Each contender works on the same inputs, keeps its own outputs, and is checked before it is timed.
// (No C++20 here: with Clang 14, libtorch's headers want an older standard.)
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ebb::bench {

enum class Layout { rows, nchw, nhwc };

/// A batch: [n, c] rows, or images.
struct Shape {
  std::int64_t n = 0, c = 0, h = 1, w = 1;
  Layout layout = Layout::rows;

  std::int64_t per_channel() const { return n * h * w; }
  std::int64_t elements() const { return n * c * h * w; }
  /// The shape as [outer, c, inner].
  std::int64_t inner() const { return layout == Layout::nchw ? h * w : 1; }
  std::int64_t outer() const { return elements() == 0 ? 0 : elements() / c / inner(); }
  /// As on the command line: 64x1024, 8x512x7x7:nhwc.
  std::string text() const;
};

/// Reads `text()`. Throws std::invalid_argument.
Shape parse_shape(const std::string& text);

/// Memory on a cache line, a different offset within its page for each: buffers that begin at the same one slow every
/// contender down, and by chance.
class Buffer {
 public:
  explicit Buffer(std::int64_t size);
  float* data() { return data_; }
  const float* data() const { return data_; }
  std::int64_t size() const { return size_; }

 private:
  std::unique_ptr<float[]> memory_;
  float* data_;
  std::int64_t size_;
};

/// The inputs, random, with the truth about each channel.
struct Problem {
  explicit Problem(Shape shape);

  Shape shape;
  double eps = 1e-5;
  Buffer x, dout, gamma, beta;
  std::vector<double> mean, var, sum, dot;  // Per channel; sum(dout) and sum(dout * (x - mean)).
};

struct Outputs {
  const float *y, *dx, *dgamma, *dbeta;
};

class Contender {
 public:
  virtual ~Contender() = default;
  virtual std::string name() const = 0;
  virtual bool supports(const Shape&) const { return true; }
  /// Binds the inputs, which outlive the contender, and makes everything that is made once.
  virtual void set_up(const Problem& problem, int threads) = 0;
  /// Called before each sample: sets what is global to the process, such as OpenMP's threads.
  virtual void activate() {}
  virtual void forward() = 0;
  /// The backward of the latest forward.
  virtual void backward() = 0;
  virtual void step() {
    forward();
    backward();
  }
  /// The most memory that a step takes beside its inputs, in bytes; 0 if it is not known.
  virtual std::size_t peak_bytes() { return 0; }
  /// Null pointers if there is nothing to check (the twin).
  virtual Outputs outputs() const = 0;
};

/// One of each that this build has.
std::vector<std::unique_ptr<Contender>> all_contenders();

std::unique_ptr<Contender> make_staged();
std::unique_ptr<Contender> make_fused();
std::unique_ptr<Contender> make_compiled();
std::unique_ptr<Contender> make_compiled_exact();
std::unique_ptr<Contender> make_kernels();
std::unique_ptr<Contender> make_twin();
std::unique_ptr<Contender> make_onednn();
std::unique_ptr<Contender> make_libtorch();
std::unique_ptr<Contender> make_libtorch_autograd();
std::unique_ptr<Contender> make_libtorch_staged();

/// Runs a step and compares it with the truth. Returns what is wrong, or nothing.
std::string check(const Problem& problem, Contender& contender);

}  // namespace ebb::bench
