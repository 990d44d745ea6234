#include "cuda/staged_communicator.h"

#include <algorithm>

#include "comm/blocks.h"
#include "error.h"

namespace toller {

StagedCommunicator::StagedCommunicator(Communicator& communicator, cudaStream_t stream)
    : HostTensorCommunicator(communicator), stream_(stream) {}

StagedCommunicator::~StagedCommunicator() {
  cudaStreamSynchronize(stream_);  // the last copy may still read the memory
  cudaFreeHost(staging_);
}

void StagedCommunicator::check(cudaError_t error, const char* operation) const {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // told, and so not the next call's
  fail("{} failed on rank {} of {}: {} ({})", operation, rank(), size(), cudaGetErrorString(error),
       cudaGetErrorName(error));
}

std::byte* StagedCommunicator::staging(std::int64_t bytes, const char* operation) {
  if (bytes <= capacity_) return staging_;
  wait(operation);  // the last copy may still read the memory
  check(cudaFreeHost(staging_), operation);
  staging_ = nullptr;
  const std::int64_t capacity = std::max(bytes, capacity_ + capacity_ / 2);
  capacity_ = 0;
  void* memory = nullptr;
  check(cudaMallocHost(&memory, static_cast<std::size_t>(capacity)), operation);
  staging_ = static_cast<std::byte*>(memory);
  capacity_ = capacity;
  return staging_;
}

void StagedCommunicator::copy(void* to, const void* from, std::int64_t bytes, cudaMemcpyKind kind,
                              const char* operation) {
  if (bytes == 0 || to == from) return;
  check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), kind, stream_), operation);
}

void StagedCommunicator::wait(const char* operation) {
  check(cudaStreamSynchronize(stream_), operation);
}

void StagedCommunicator::gather(const void* local, std::span<const std::int64_t> counts, void* all,
                                Element element) {
  const char* operation = "all_gather";
  const std::int64_t width = element_size(element), total = total_count(counts, size(), operation) * width;
  if (size() == 1) return copy(all, local, total, cudaMemcpyDeviceToDevice, operation);
  std::byte* staged = staging(total, operation);
  std::byte* own = staged + block_offset(counts, rank()) * width;
  copy(own, local, counts[static_cast<std::size_t>(rank())] * width, cudaMemcpyDeviceToHost, operation);
  wait(operation);
  HostTensorCommunicator::gather(own, counts, staged, element);
  copy(all, staged, total, cudaMemcpyHostToDevice, operation);
}

void StagedCommunicator::scatter_sum(void* all, std::span<const std::int64_t> counts, void* local,
                                     Element element) {
  const char* operation = "reduce_scatter_sum";
  const std::int64_t width = element_size(element), total = total_count(counts, size(), operation) * width;
  if (size() == 1) return copy(local, all, total, cudaMemcpyDeviceToDevice, operation);
  std::byte* staged = staging(total, operation);
  std::byte* own = staged + block_offset(counts, rank()) * width;
  copy(staged, all, total, cudaMemcpyDeviceToHost, operation);
  wait(operation);
  HostTensorCommunicator::scatter_sum(staged, counts, own, element);
  copy(local, own, counts[static_cast<std::size_t>(rank())] * width, cudaMemcpyHostToDevice, operation);
}

void StagedCommunicator::reduce(void* data, std::int64_t n, Element element, bool maximum) {
  if (size() == 1) return;
  const char* operation = maximum ? "all_reduce_max" : "all_reduce_sum";
  const std::int64_t bytes = n * element_size(element);
  std::byte* staged = staging(bytes, operation);
  copy(staged, data, bytes, cudaMemcpyDeviceToHost, operation);
  wait(operation);
  HostTensorCommunicator::reduce(staged, n, element, maximum);
  copy(data, staged, bytes, cudaMemcpyHostToDevice, operation);
}

}  // namespace toller
