#include "cuda/cuda_memory.h"

#include <algorithm>
#include <cstring>

#include "cuda/launch.cuh"
#include "error.h"

namespace toller {
namespace {

constexpr std::size_t kLargestRead = 64;

cudaEvent_t make_event() {
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  return event;
}

}  // namespace

void* PinnedMemory::allocate(std::size_t bytes) {
  void* memory = nullptr;
  check_cuda(cudaMallocHost(&memory, std::max<std::size_t>(bytes, 1)), "cudaMallocHost");
  return memory;
}

void PinnedMemory::release(void* memory) {
  cudaFreeHost(memory);
}

CudaMemory::CudaMemory(cudaStream_t stream) : stream_(stream), uploads_{Uploads(*this), Uploads(*this)} {
  for (Uploads& uploads : uploads_) uploads.copied = make_event();
}

CudaMemory::~CudaMemory() {
  cudaStreamSynchronize(stream_);
  for (const Uploads& uploads : uploads_) cudaEventDestroy(uploads.copied);
  for (const Read& read : reads_) {
    cudaEventDestroy(read.copied);
    pinned_.release(read.pinned);
  }
}

void* CudaMemory::allocate(std::size_t bytes) {
  void* memory = nullptr;
  if (cudaMalloc(&memory, std::max<std::size_t>(bytes, 1)) == cudaSuccess) return memory;
  cudaGetLastError();
  fail(
      "out of GPU memory: {} MiB could not be allocated, {} MiB are free; a smaller --micro-batch takes less",
      bytes >> 20, free_bytes() >> 20);
}

void CudaMemory::release(void* memory) {
  cudaFree(memory);
}

void CudaMemory::zero_bytes(void* memory, std::size_t bytes) {
  if (bytes > 0) check_cuda(cudaMemsetAsync(memory, 0, bytes, stream_), "cudaMemsetAsync");
}

void CudaMemory::copy_bytes(const void* from, std::size_t bytes, void* to) {
  if (bytes > 0) {
    check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_), "cudaMemcpyAsync");
  }
}

void CudaMemory::copy_to_host(void* host, const void* device, std::size_t bytes) {
  if (bytes == 0) return;
  check_cuda(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_), "cudaMemcpyAsync");
  check_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
}

void CudaMemory::copy_to_device(void* device, const void* host, std::size_t bytes) {
  if (bytes == 0) return;
  check_cuda(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync");
  check_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
}

std::int64_t CudaMemory::start_read(const void* device, std::size_t bytes) {
  if (bytes == 0 || bytes > kLargestRead)
    fail("start_read of {} bytes; up to {} are read", bytes, kLargestRead);
  auto free = std::ranges::find(reads_, std::size_t{0}, &Read::bytes);
  if (free == reads_.end()) free = reads_.insert(free, Read{pinned_.allocate(kLargestRead), 0, make_event()});
  check_cuda(cudaMemcpyAsync(free->pinned, device, bytes, cudaMemcpyDeviceToHost, stream_),
             "cudaMemcpyAsync");
  check_cuda(cudaEventRecord(free->copied, stream_), "cudaEventRecord");
  free->bytes = bytes;
  return free - reads_.begin();
}

void CudaMemory::finish_read(std::int64_t ticket, void* host) {
  Read& read = reads_[static_cast<std::size_t>(ticket)];
  check_cuda(cudaEventSynchronize(read.copied), "cudaEventSynchronize");
  std::memcpy(host, read.pinned, read.bytes);
  read.bytes = 0;
}

void CudaMemory::begin_step() {
  check_cuda(cudaEventRecord(uploads_[current_].copied, stream_), "cudaEventRecord");
  current_ = 1 - current_;
  Uploads& uploads = uploads_[current_];
  check_cuda(cudaEventSynchronize(uploads.copied), "cudaEventSynchronize");
  uploads.pinned.reset();
  uploads.device.reset();
}

const void* CudaMemory::upload_bytes(const void* host, std::size_t bytes) {
  if (bytes == 0) return nullptr;
  Uploads& uploads = uploads_[current_];
  const auto n = static_cast<std::int64_t>(bytes);
  std::byte* pinned = uploads.pinned.take<std::byte>(n);
  std::byte* device = uploads.device.take<std::byte>(n);
  std::memcpy(pinned, host, bytes);
  check_cuda(cudaMemcpyAsync(device, pinned, bytes, cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync");
  return device;
}

std::int64_t CudaMemory::free_bytes() const {
  std::size_t free = 0, total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return static_cast<std::int64_t>(free);
}

}  // namespace toller
