// Memory of one step, handed out front to back and taken back all at once. After the first step of a size
// nothing is allocated any more.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "device/ops.h"

namespace toller {

template <class T>
class Arena {
 public:
  explicit Arena(Ops<T>& ops) : ops_(ops) {}
  ~Arena() {
    for (const Block& block : blocks_) ops_.release(block.memory);
  }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// n elements, aligned to 64 bytes, not cleared; valid until the next reset().
  T* take(std::int64_t n) {
    const std::size_t bytes = (static_cast<std::size_t>(n) * sizeof(T) + 63) / 64 * 64;
    if (blocks_.empty() || used_ + bytes > blocks_.back().bytes) grow(bytes);
    T* memory = reinterpret_cast<T*>(static_cast<std::byte*>(blocks_.back().memory) + used_);
    used_ += bytes;
    total_ += bytes;
    peak_ = std::max(peak_, total_);
    return memory;
  }

  /// Takes everything back. Several blocks, left by growth, become one that holds the largest step seen.
  void reset() {
    if (blocks_.size() > 1) {
      for (const Block& block : blocks_) ops_.release(block.memory);
      blocks_.clear();
      blocks_.push_back({ops_.allocate(peak_), peak_});
    }
    used_ = total_ = 0;
  }

 private:
  struct Block {
    void* memory;
    std::size_t bytes;
  };

  void grow(std::size_t bytes) {
    const std::size_t size = std::max<std::size_t>({bytes, 2 * total_, std::size_t{1} << 20});
    blocks_.push_back({ops_.allocate(size), size});
    used_ = 0;
  }

  Ops<T>& ops_;
  std::vector<Block> blocks_;
  std::size_t used_ = 0;   ///< bytes of the last block
  std::size_t total_ = 0;  ///< bytes handed out since reset()
  std::size_t peak_ = 0;
};

}  // namespace toller
