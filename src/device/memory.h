// Memory of the device that computes, and the ways between it and the host. Operations are queued: they run
// in the order of the calls, and may run after the call has returned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace toller {

class MemorySource {
 public:
  virtual ~MemorySource() = default;

  /// Aligned to 64 bytes; throws Error with the size when out of it.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory) = 0;
};

class DeviceMemory : public MemorySource {
 public:
  virtual void zero_bytes(void* memory, std::size_t bytes) = 0;
  template <class E>
  void zero(E* x, std::int64_t n) {
    zero_bytes(x, static_cast<std::size_t>(n) * sizeof(E));
  }

  virtual void copy_bytes(const void* from, std::size_t bytes, void* to) = 0;
  template <class E>
  void copy(const E* from, std::int64_t n, E* to) {
    copy_bytes(from, static_cast<std::size_t>(n) * sizeof(E), to);
  }

  /// Copies that are done when the call returns, behind everything that was queued.
  virtual void copy_to_host(void* host, const void* device, std::size_t bytes) = 0;
  virtual void copy_to_device(void* device, const void* host, std::size_t bytes) = 0;

  /// Queues a copy of a few results to the host; returns a ticket. read_result() waits until that copy has
  /// been made, gives the bytes to `host`, and takes the ticket back. At most 64 bytes.
  virtual std::int64_t start_read(const void* device, std::size_t bytes) = 0;
  virtual void finish_read(std::int64_t ticket, void* host) = 0;

  /// The inputs of a step, from host memory to the device: valid until the next begin_step(), and as long as
  /// the host memory stays as it is. That may change once the last operation that reads them is queued.
  virtual void begin_step() = 0;
  virtual const void* upload_bytes(const void* host, std::size_t bytes) = 0;
  template <class E>
  const E* upload(std::span<const E> host) {
    return static_cast<const E*>(upload_bytes(host.data(), host.size_bytes()));
  }

  /// Bytes that can still be allocated.
  virtual std::int64_t free_bytes() const = 0;
};

/// An array in memory of the device; not cleared.
template <class E>
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(DeviceMemory& memory, std::int64_t size)
      : memory_(&memory),
        size_(size),
        data_(static_cast<E*>(memory.allocate(static_cast<std::size_t>(size) * sizeof(E)))) {}
  ~DeviceBuffer() {
    if (data_ != nullptr) memory_->release(data_);
  }
  DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    swap(other);
    return *this;
  }

  E* data() const { return data_; }
  std::int64_t size() const { return size_; }

  void read(std::span<E> host) const { memory_->copy_to_host(host.data(), data_, host.size_bytes()); }
  void write(std::span<const E> host) { memory_->copy_to_device(data_, host.data(), host.size_bytes()); }

 private:
  void swap(DeviceBuffer& other) {
    std::swap(memory_, other.memory_);
    std::swap(size_, other.size_);
    std::swap(data_, other.data_);
  }

  DeviceMemory* memory_ = nullptr;
  std::int64_t size_ = 0;
  E* data_ = nullptr;
};

}  // namespace toller
