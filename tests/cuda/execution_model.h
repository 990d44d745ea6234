// What the tests of kernels ask of the place where they run: the CUDA execution model on the CPU (host_cuda,
// HOST_CUDA), or a real GPU (tests/gpu). Work on a GPU goes on after the call; memory is read through
// DeviceArray, which waits for it.
#pragma once

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda/launch.cuh"

namespace toller {

inline int gpu_count() {
  int count = 0;
  check_cuda(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  return count;
}

#if defined(HOST_CUDA)

inline constexpr bool kOnGpu = false;

/// Runs the body with the threads of every block in both orders: what depends on the order is wrong.
template <class Body>
void in_both_thread_orders(Body body) {
  for (const auto order : {host_cuda::ThreadOrder::kAscending, host_cuda::ThreadOrder::kDescending}) {
    host_cuda::set_thread_order(order);
    SCOPED_TRACE(order == host_cuda::ThreadOrder::kAscending ? "ascending threads" : "descending threads");
    body();
  }
  host_cuda::set_thread_order(host_cuda::ThreadOrder::kAscending);
}

/// How often the host has waited for the device.
inline std::int64_t host_waits() {
  return host_cuda::call_counts().synchronisations;
}

/// Throws where a kernel failed or wrote beside its memory.
inline void check_guards(const char* when) {
  host_cuda::check_guards(when);
}

/// Device memory full of NaNs, beside which nothing may be written. host_cuda's is that by itself.
class GuardedMemory {
 public:
  explicit GuardedMemory(std::size_t bytes) { check_cuda(cudaMalloc(&memory_, bytes), "cudaMalloc"); }
  ~GuardedMemory() { EXPECT_EQ(cudaFree(memory_), cudaSuccess); }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;
  void* get() const { return memory_; }

 private:
  void* memory_ = nullptr;
};

/// As many GPUs as a test wants, while this is there.
class Gpus {
 public:
  explicit Gpus(int wanted) { host_cuda::set_device_count(wanted); }
  ~Gpus() { host_cuda::set_device_count(1); }
  Gpus(const Gpus&) = delete;
  Gpus& operator=(const Gpus&) = delete;
};

/// What is queued on the stream from here on waits for release().
class HeldStream {
 public:
  explicit HeldStream(cudaStream_t stream) { host_cuda::hold_up(stream, halt_); }
  ~HeldStream() { release(); }
  HeldStream(const HeldStream&) = delete;
  HeldStream& operator=(const HeldStream&) = delete;
  void release() { halt_->release(); }

 private:
  std::shared_ptr<host_cuda::Halt> halt_ = std::make_shared<host_cuda::Halt>();
};

#else

inline constexpr bool kOnGpu = true;

/// The order of threads is the GPU's own.
template <class Body>
void in_both_thread_orders(Body body) {
  body();
}

/// Not counted.
inline std::int64_t host_waits() {
  return 0;
}

/// Throws where a kernel failed. What was written beside a GuardedMemory is found when that is freed.
inline void check_guards(const char* when) {
  check_cuda(cudaDeviceSynchronize(), when);
}

/// Device memory full of NaNs between two zones that must stay as they are. TOLLER_TEST_GUARD_BYTES is a
/// zone's length, a multiple of 256; 0 lets compute-sanitizer see where the memory ends.
class GuardedMemory {
 public:
  explicit GuardedMemory(std::size_t bytes) : bytes_(bytes) {
    const std::size_t all = std::max<std::size_t>(bytes + 2 * zone(), 1);
    check_cuda(cudaMalloc(&memory_, all), "cudaMalloc");
    check_cuda(cudaMemset(memory_, kGuard, all), "cudaMemset");
    if (bytes > 0) check_cuda(cudaMemset(get(), 0xFF, bytes), "cudaMemset");
    check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  }
  ~GuardedMemory() {
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    expect_untouched(memory_, "before");
    expect_untouched(get() + bytes_, "behind");
    EXPECT_EQ(cudaFree(memory_), cudaSuccess);
  }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;
  std::byte* get() const { return memory_ + zone(); }

 private:
  static constexpr unsigned char kGuard = 0xA5;

  static std::size_t zone() {
    static const std::size_t bytes = [] {
      const char* text = std::getenv("TOLLER_TEST_GUARD_BYTES");
      return text == nullptr ? std::size_t{256} : std::strtoul(text, nullptr, 10);
    }();
    return bytes;
  }
  void expect_untouched(const std::byte* from, const char* where) const {
    if (zone() == 0) return;
    std::vector<unsigned char> bytes(zone());
    EXPECT_EQ(cudaMemcpy(bytes.data(), from, bytes.size(), cudaMemcpyDeviceToHost), cudaSuccess);
    EXPECT_EQ(bytes, std::vector<unsigned char>(zone(), kGuard))
        << "something was written " << where << " an array of " << bytes_ << " bytes";
  }

  std::size_t bytes_;
  std::byte* memory_ = nullptr;
};

/// A machine has the GPUs that it has; gpu_count() says how many.
class Gpus {
 public:
  explicit Gpus(int) {}
};

/// What is queued on the stream from here on waits for release(), a minute at most.
class HeldStream {
 public:
  explicit HeldStream(cudaStream_t stream) {
    auto own = std::make_unique<std::shared_ptr<Halt>>(halt_);
    check_cuda(cudaLaunchHostFunc(stream, wait, own.get()), "cudaLaunchHostFunc");
    own.release();
  }
  ~HeldStream() { release(); }
  HeldStream(const HeldStream&) = delete;
  HeldStream& operator=(const HeldStream&) = delete;
  void release() {
    const std::lock_guard lock(halt_->mutex);
    halt_->released = true;
    halt_->changed.notify_all();
  }

 private:
  struct Halt {
    std::mutex mutex;
    std::condition_variable changed;
    bool released = false;
  };
  /// On a thread of CUDA's; owns what it is given.
  static void wait(void* halt) {
    const std::unique_ptr<std::shared_ptr<Halt>> own(static_cast<std::shared_ptr<Halt>*>(halt));
    std::unique_lock lock((*own)->mutex);
    (*own)->changed.wait_for(lock, std::chrono::minutes(1), [&] { return (*own)->released; });
  }

  std::shared_ptr<Halt> halt_ = std::make_shared<Halt>();
};

#endif

}  // namespace toller
