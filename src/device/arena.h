// Memory of one step, handed out front to back and taken back all at once. After the first step of a size
// nothing is allocated any more.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "device/memory.h"

namespace toller {

class Arena {
 public:
  explicit Arena(MemorySource& memory) : memory_(&memory) {}
  /// An arena that only counts: take() gives no memory.
  Arena() = default;
  ~Arena() { release(); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// n elements, aligned to 64 bytes, not cleared; valid until the next reset().
  template <class E>
  E* take(std::int64_t n) {
    const std::size_t bytes =
        (static_cast<std::size_t>(n) * sizeof(E) + kAlignment - 1) / kAlignment * kAlignment;
    total_ += bytes;
    peak_ = std::max(peak_, total_);
    if (memory_ == nullptr) return nullptr;
    if (blocks_.empty() || used_ + bytes > blocks_.back().bytes) grow(bytes);
    E* taken = reinterpret_cast<E*>(static_cast<std::byte*>(blocks_.back().memory) + used_);
    used_ += bytes;
    return taken;
  }

  /// Takes everything back. Several blocks, left by growth, become one that holds the largest step seen.
  void reset() {
    if (blocks_.size() > 1) reserve(peak_);
    used_ = total_ = 0;
  }

  /// One block of at least so many bytes; what was taken is lost.
  void reserve(std::size_t bytes) {
    used_ = total_ = 0;
    if (blocks_.size() == 1 && blocks_.front().bytes >= bytes) return;
    release();
    blocks_.push_back({memory_->allocate(bytes), bytes});
  }

  /// Most bytes that were taken between two resets.
  std::size_t peak() const { return peak_; }

 private:
  static constexpr std::size_t kAlignment = 256;

  struct Block {
    void* memory;
    std::size_t bytes;
  };

  void grow(std::size_t bytes) {
    const std::size_t size = std::max<std::size_t>({bytes, 2 * total_, std::size_t{1} << 20});
    blocks_.push_back({memory_->allocate(size), size});
    used_ = 0;
  }

  void release() {
    for (const Block& block : blocks_) memory_->release(block.memory);
    blocks_.clear();
  }

  MemorySource* memory_ = nullptr;
  std::vector<Block> blocks_;
  std::size_t used_ = 0;   ///< bytes of the last block
  std::size_t total_ = 0;  ///< bytes handed out since reset()
  std::size_t peak_ = 0;
};

}  // namespace toller
