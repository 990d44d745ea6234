// The collectives of a step on device memory through the host: device → page-locked host memory →
// Communicator → device. For several ranks on one GPU, which NCCL refuses, and where NCCL is missing. One
// process alone copies on the device.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "comm/host_tensor_communicator.h"

namespace toller {

/// The host waits in every collective of several ranks: for what is queued on the stream before, and for the
/// other ranks; a started sum is made at once. The copy back to the device is only queued. Host memory grows
/// to the largest collective and is kept. CUDA's failures throw Error naming rank and operation.
class StagedCommunicator final : public HostTensorCommunicator {
 public:
  /// `communicator` and `stream` must outlive this object; calls come on the stream's device.
  StagedCommunicator(Communicator& communicator, cudaStream_t stream);
  ~StagedCommunicator() override;
  StagedCommunicator(const StagedCommunicator&) = delete;
  StagedCommunicator& operator=(const StagedCommunicator&) = delete;

 private:
  void gather(const void* local, std::span<const std::int64_t> counts, void* all, Element element) override;
  void scatter_sum(void* all, std::span<const std::int64_t> counts, void* local, Element element) override;
  void reduce(void* data, std::int64_t n, Element element, bool maximum) override;

  /// Host memory of at least so many bytes; what was in it is lost.
  std::byte* staging(std::int64_t bytes, const char* operation);
  void copy(void* to, const void* from, std::int64_t bytes, cudaMemcpyKind kind, const char* operation);
  void wait(const char* operation);
  void check(cudaError_t error, const char* operation) const;

  cudaStream_t stream_;
  std::byte* staging_ = nullptr;
  std::int64_t capacity_ = 0;
};

}  // namespace toller
