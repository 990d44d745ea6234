#include "host_cuda/runtime_api.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "host_cuda/execution.h"

namespace host_cuda {

cudaError_t copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind);

struct Stream {
  std::shared_ptr<Halt> halt;
};
struct Event {
  bool recorded = false;
  std::shared_ptr<Halt> halt;  ///< of its stream when it was recorded
};

namespace {

std::mutex streams_mutex;  ///< streams and events are used by several threads

/// The default stream is one a thread: ranks are threads.
Stream& stream_of(cudaStream_t stream) {
  thread_local Stream default_stream;
  return stream != nullptr ? *stream : default_stream;
}

std::shared_ptr<Halt> halt_of(cudaStream_t stream) {
  const std::lock_guard lock(streams_mutex);
  return stream_of(stream).halt;
}
std::shared_ptr<Halt> halt_of(cudaEvent_t event) {
  const std::lock_guard lock(streams_mutex);
  return event->halt;
}

bool is_held_up(const std::shared_ptr<Halt>& halt) {
  return halt && halt->holds();
}

std::atomic<std::int64_t> allocations = 0, synchronisations = 0;

std::atomic<int> device_count = 1;
thread_local int device = 0;

bool is_device(int number) {
  return number >= 0 && number < device_count;
}

thread_local cudaError_t last_error = cudaSuccess;

cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

// What a kernel may use without asking, and what an sm_80 grants on request.
constexpr std::size_t kDefaultShared = 48 << 10, kOptInShared = 163 << 10;

std::mutex limits_mutex;
std::map<const void*, std::size_t>& limits() {
  static std::map<const void*, std::size_t> map;
  return map;
}

}  // namespace

void set_last_error(cudaError_t error) {
  last_error = error;
}

CallCounts call_counts() {
  return {allocations, synchronisations};
}
void count_allocation() {
  ++allocations;
}
void count_synchronisation() {
  ++synchronisations;
}

void set_device_count(int count) {
  device_count = count;
}

void Halt::release() {
  holds_ = false;
}

bool Halt::wait() const {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (holds_ && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return !holds_;
}

void hold_up(cudaStream_t stream, std::shared_ptr<Halt> halt) {
  const std::lock_guard lock(streams_mutex);
  stream_of(stream).halt = std::move(halt);
}

std::size_t dynamic_shared_limit(const void* function) {
  const std::lock_guard lock(limits_mutex);
  const auto found = limits().find(function);
  return found == limits().end() ? kDefaultShared : found->second;
}

}  // namespace host_cuda

using host_cuda::report;

cudaError_t cudaGetLastError() {
  const cudaError_t error = host_cuda::last_error;
  host_cuda::last_error = cudaSuccess;
  return error;
}
cudaError_t cudaPeekAtLastError() {
  return host_cuda::last_error;
}

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorLaunchTimeout:
      return "cudaErrorLaunchTimeout";
  }
  return "cudaErrorUnknown";
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorLaunchTimeout:
      return "the launch timed out and was terminated";
  }
  return "unknown error";
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = host_cuda::device_count;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = host_cuda::device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (!host_cuda::is_device(device)) return report(cudaErrorInvalidDevice);
  host_cuda::device = device;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int device) {
  if (!host_cuda::is_device(device)) return report(cudaErrorInvalidDevice);
  if (text == nullptr || size < 13) return report(cudaErrorInvalidValue);
  std::snprintf(text, static_cast<std::size_t>(size), "0000:%02x:00.0", 0x17 + device);
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= host_cuda::device_count) return report(cudaErrorInvalidDevice);
  *properties = {"host CUDA", host_cuda::device_memory_size(), 8, 0};
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = host_cuda::device_memory_size();
  const std::size_t used = host_cuda::device_bytes();
  *free = used < *total ? *total - used : 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  host_cuda::count_synchronisation();
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (!host_cuda::is_device(device)) return report(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = 1024;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = 2;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 8;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(host_cuda::kOptInShared);
      return cudaSuccess;
  }
  return report(cudaErrorInvalidValue);
}

cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  host_cuda::count_allocation();
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  return report(*memory != nullptr || bytes == 0 ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t) {
  return host_cuda::copy(to, from, bytes, kind);
}
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t) {
  return cudaMemset(memory, value, bytes);
}
cudaError_t cudaMemset2DAsync(void* memory, std::size_t pitch, int value, std::size_t width,
                              std::size_t height, cudaStream_t) {
  if (width > pitch) return report(cudaErrorInvalidValue);
  for (std::size_t row = 0; row < height; ++row) {
    const cudaError_t error = cudaMemset(static_cast<char*>(memory) + row * pitch, value, width);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, 0);
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  host_cuda::count_allocation();
  *stream = new host_cuda::Stream;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  thread_local cudaStreamCaptureMode current = cudaStreamCaptureModeGlobal;
  std::swap(*mode, current);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  host_cuda::count_synchronisation();
  const auto halt = host_cuda::halt_of(stream);
  return report(!halt || halt->wait() ? cudaSuccess : cudaErrorLaunchTimeout);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const auto halt = host_cuda::halt_of(event);
  if (host_cuda::is_held_up(halt)) host_cuda::hold_up(stream, halt);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, 0);
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  host_cuda::count_allocation();
  *event = new host_cuda::Event;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const std::lock_guard lock(host_cuda::streams_mutex);
  event->recorded = true;
  event->halt = host_cuda::stream_of(stream).halt;
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  host_cuda::count_synchronisation();
  const auto halt = host_cuda::halt_of(event);
  return report(!halt || halt->wait() ? cudaSuccess : cudaErrorLaunchTimeout);
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return host_cuda::is_held_up(host_cuda::halt_of(event)) ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  if (!begin->recorded || !end->recorded) return report(cudaErrorInvalidValue);
  *milliseconds = 0;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || static_cast<std::size_t>(value) > host_cuda::kOptInShared)
    return report(cudaErrorInvalidValue);
  const std::lock_guard lock(host_cuda::limits_mutex);
  host_cuda::limits()[function] = static_cast<std::size_t>(value);
  return cudaSuccess;
}
