// Memory that kernels use while they run. What follows on the same stream may use it again.
#pragma once

#include <cstddef>
#include <cstdint>

#include "device/memory.h"

namespace toller {

/// Grows to the largest need.
class Workspace {
 public:
  explicit Workspace(DeviceMemory& memory) : memory_(memory) {}
  template <class E>
  E* at_least(std::int64_t n) {
    const std::int64_t bytes = n * static_cast<std::int64_t>(sizeof(E));
    if (bytes > buffer_.size()) buffer_ = DeviceBuffer<std::byte>(memory_, bytes + bytes / 4);
    return reinterpret_cast<E*>(buffer_.data());
  }

 private:
  DeviceMemory& memory_;
  DeviceBuffer<std::byte> buffer_;
};

}  // namespace toller
