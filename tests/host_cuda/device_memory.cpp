// Device memory: pages of its own for every allocation, an inaccessible page before and behind them. The
// allocation ends as near to the second as an alignment of 256 bytes lets it; the rest of its pages holds a
// known byte, which also reads as NaN.
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "host_cuda/execution.h"
#include "host_cuda/runtime_api.h"

namespace host_cuda {

std::string running_thread();
cudaError_t copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind);

namespace {

constexpr std::size_t kPage = 4096, kAlignment = 256;
constexpr unsigned char kFill = 0xFF;

struct Allocation {
  std::size_t bytes = 0;
  unsigned char* pages = nullptr;  ///< first accessible page
  std::size_t page_bytes = 0;
};

std::mutex mutex;
std::map<unsigned char*, Allocation>& allocations() {
  static std::map<unsigned char*, Allocation> map;
  return map;
}

std::string allocation_text(const unsigned char* start, const Allocation& allocation) {
  return fmt::format("the allocation of {} bytes at {}", allocation.bytes, static_cast<const void*>(start));
}

/// Says where an access fell that hit a guard page, then lets the program end.
void on_segmentation_fault(int signal_number, siginfo_t* info, void*) {
  const auto* address = static_cast<const unsigned char*>(info->si_addr);
  for (const auto& [start, allocation] : allocations()) {
    if (address < allocation.pages - kPage || address >= allocation.pages + allocation.page_bytes + kPage)
      continue;
    std::fprintf(stderr, "host_cuda: %s: access to %p, outside %s\n", running_thread().c_str(), info->si_addr,
                 allocation_text(start, allocation).c_str());
  }
  signal(signal_number, SIG_DFL);
}

void watch_for_faults() {
  static const bool installed = [] {
    struct sigaction action = {};
    action.sa_sigaction = on_segmentation_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    return sigaction(SIGSEGV, &action, nullptr) == 0;
  }();
  (void)installed;
}

void check_one(const unsigned char* start, const Allocation& allocation, const char* when) {
  const auto check = [&](const unsigned char* from, const unsigned char* to, const char* side) {
    for (const unsigned char* p = from; p < to; ++p) {
      if (*p == kFill) continue;
      throw Error(fmt::format("{}: a write {} {}", when, side, allocation_text(start, allocation)));
    }
  };
  check(allocation.pages, start, "before");
  check(start + allocation.bytes, allocation.pages + allocation.page_bytes, "behind");
}

}  // namespace

bool is_device_range(const void* memory, std::size_t bytes) {
  auto* address = static_cast<unsigned char*>(const_cast<void*>(memory));
  const std::lock_guard lock(mutex);
  auto after = allocations().upper_bound(address);
  if (after == allocations().begin()) return false;
  --after;
  return address + bytes <= after->first + after->second.bytes;
}

void check_guards(const char* when) {
  const std::lock_guard lock(mutex);
  for (const auto& [start, allocation] : allocations()) check_one(start, allocation, when);
}

std::size_t device_bytes() {
  const std::lock_guard lock(mutex);
  std::size_t total = 0;
  for (const auto& entry : allocations()) total += entry.second.bytes;
  return total;
}

std::size_t device_memory_size() {
  static const std::size_t size = [] {
    const char* given = std::getenv("HOST_CUDA_MEMORY");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : std::size_t{4} << 30;
  }();
  return size;
}

}  // namespace host_cuda

using namespace host_cuda;

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  watch_for_faults();
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  count_allocation();
  if (bytes > device_memory_size() || device_bytes() > device_memory_size() - bytes) {
    set_last_error(cudaErrorMemoryAllocation);
    return cudaErrorMemoryAllocation;
  }
  const std::size_t page_bytes = (bytes + kPage - 1) / kPage * kPage;
  void* region = page_bytes < bytes ? MAP_FAILED
                                    : mmap(nullptr, page_bytes + 2 * kPage, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (region == MAP_FAILED) {
    set_last_error(cudaErrorMemoryAllocation);
    return cudaErrorMemoryAllocation;
  }
  Allocation allocation{bytes, static_cast<unsigned char*>(region) + kPage, page_bytes};
  mprotect(allocation.pages - kPage, kPage, PROT_NONE);
  mprotect(allocation.pages + page_bytes, kPage, PROT_NONE);
  std::memset(allocation.pages, kFill, page_bytes);
  unsigned char* start = allocation.pages + (page_bytes - bytes) / kAlignment * kAlignment;
  const std::lock_guard lock(mutex);
  allocations()[start] = allocation;
  *memory = start;
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  const std::lock_guard lock(mutex);
  const auto found = allocations().find(static_cast<unsigned char*>(memory));
  if (found == allocations().end()) {
    set_last_error(cudaErrorInvalidValue);
    return cudaErrorInvalidValue;
  }
  const Allocation allocation = found->second;
  check_one(found->first, allocation, "cudaFree");
  allocations().erase(found);
  munmap(allocation.pages - kPage, allocation.page_bytes + 2 * kPage);
  return cudaSuccess;
}

cudaError_t host_cuda::copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (bytes == 0) return cudaSuccess;
  const bool to_device = is_device_range(to, bytes), from_device = is_device_range(from, bytes);
  bool fits = true;
  if (kind == cudaMemcpyHostToDevice) fits = to_device && !from_device;
  if (kind == cudaMemcpyDeviceToHost) fits = from_device && !to_device;
  if (kind == cudaMemcpyDeviceToDevice) fits = to_device && from_device;
  if (!fits) {
    set_last_error(cudaErrorInvalidValue);
    return cudaErrorInvalidValue;
  }
  std::memmove(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  count_synchronisation();
  return copy(to, from, bytes, kind);
}

cudaError_t cudaMemset(void* memory, int value, std::size_t bytes) {
  if (bytes == 0) return cudaSuccess;
  if (!is_device_range(memory, bytes)) {
    set_last_error(cudaErrorInvalidValue);
    return cudaErrorInvalidValue;
  }
  std::memset(memory, value, bytes);
  return cudaSuccess;
}
