// Memory of a GPU, and the ways between it and the host. Everything is queued on one stream.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <vector>

#include "device/arena.h"
#include "device/memory.h"

namespace toller {

/// Memory of the host that the GPU copies from and to without a detour.
class PinnedMemory final : public MemorySource {
 public:
  void* allocate(std::size_t bytes) override;
  void release(void* memory) override;
};

class CudaMemory : public virtual DeviceMemory {
 public:
  /// Works on the current device. `stream` must outlive this object.
  explicit CudaMemory(cudaStream_t stream);
  ~CudaMemory() override;
  CudaMemory(const CudaMemory&) = delete;
  CudaMemory& operator=(const CudaMemory&) = delete;

  void* allocate(std::size_t bytes) override;
  void release(void* memory) override;
  void zero_bytes(void* memory, std::size_t bytes) override;
  void copy_bytes(const void* from, std::size_t bytes, void* to) override;
  void copy_to_host(void* host, const void* device, std::size_t bytes) override;
  void copy_to_device(void* device, const void* host, std::size_t bytes) override;
  std::int64_t start_read(const void* device, std::size_t bytes) override;
  void finish_read(std::int64_t ticket, void* host) override;
  void begin_step() override;
  const void* upload_bytes(const void* host, std::size_t bytes) override;
  std::int64_t free_bytes() const override;

  cudaStream_t stream() const { return stream_; }

 protected:
  /// Memory of the step in progress, valid until the next begin_step().
  template <class E>
  E* take_for_step(std::int64_t n) {
    return uploads_[current_].device.take<E>(n);
  }

 private:
  /// The inputs of a step. Two steps take turns, so that one can be prepared while the GPU reads the other's.
  struct Uploads {
    explicit Uploads(CudaMemory& memory) : pinned(memory.pinned_), device(memory) {}
    Arena pinned, device;
    cudaEvent_t copied = nullptr;  ///< all copies from `pinned` have been made
  };
  struct Read {
    void* pinned = nullptr;
    std::size_t bytes = 0;  ///< 0: free
    cudaEvent_t copied = nullptr;
  };

  cudaStream_t stream_;
  PinnedMemory pinned_;
  std::array<Uploads, 2> uploads_;
  std::size_t current_ = 0;
  std::vector<Read> reads_;
};

}  // namespace toller
