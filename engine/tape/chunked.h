// A list whose elements never move: storage in chunks, appended at the end, cut back to a mark.
//
// A tape grows while references into it are in use (a derivative rule reads its node and appends others), and it is cut
// back after every training step. Chunks make both safe and cheap: nothing is copied on growth, and cutting back keeps
// the memory for the next step.
#pragma once

#include <ebb/engine/tensor/buffer.h>

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

namespace ebb {

template <class T, std::size_t kChunk = 512>
class Chunked {
 public:
  Chunked() = default;
  Chunked(const Chunked&) = delete;
  Chunked& operator=(const Chunked&) = delete;
  ~Chunked() {
    truncate(0);
    for (T* chunk : chunks_) free_cached(chunk);
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](std::size_t i) { return chunks_[i / kChunk][i % kChunk]; }
  const T& operator[](std::size_t i) const { return chunks_[i / kChunk][i % kChunk]; }
  T& back() { return (*this)[size_ - 1]; }

  T& push_back(const T& value) { return emplace_back(value); }
  T& push_back(T&& value) { return emplace_back(std::move(value)); }

  template <class... Args>
  T& emplace_back(Args&&... args) {
    reserve(size_ + 1);
    T* place = &chunks_[size_ / kChunk][size_ % kChunk];
    std::construct_at(place, std::forward<Args>(args)...);
    ++size_;
    return *place;
  }

  /// Appends copies of `values` side by side, at most kChunk of them, and returns where they lie. Elements that had to
  /// be skipped to keep them together are default-constructed.
  std::span<const T> append(std::span<const T> values) {
    if (values.empty()) return {};
    while (size_ % kChunk + values.size() > kChunk) push_back(T());
    const std::size_t first = size_;
    for (const T& value : values) push_back(value);
    return {&(*this)[first], values.size()};
  }

  /// Destroys the elements from `size` on and keeps their memory.
  void truncate(std::size_t size) {
    while (size_ > size) std::destroy_at(&(*this)[--size_]);
  }

 private:
  void reserve(std::size_t size) {
    while (chunks_.size() * kChunk < size) {
      chunks_.push_back(nullptr);
      chunks_.back() = static_cast<T*>(allocate_cached(kChunk * sizeof(T)));
    }
  }

  CachedVector<T*> chunks_;
  std::size_t size_ = 0;
};

}  // namespace ebb
