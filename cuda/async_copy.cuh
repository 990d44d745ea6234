// Copies from global to shared memory that go on while the thread computes (cp.async, sm_80 and up).
#pragma once

#include <cstdint>

#include "cuda/launch.cuh"
#ifndef __CUDACC__
#include "host_cuda/async_copy.h"
#endif

namespace toller {

/// Starts a copy of 16 bytes, or of 16 zero bytes where `valid` is false (`global` is then not read). Both
/// addresses are aligned to 16 bytes.
__device__ __forceinline__ void start_copy(void* shared, const void* global, bool valid) {
#ifdef __CUDACC__
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                   static_cast<std::uint32_t>(__cvta_generic_to_shared(shared))),
               "l"(global), "r"(valid ? 16 : 0)
               : "memory");
#else
  host_cuda::start_copy(shared, valid ? global : nullptr);
#endif
}

/// Waits for the copies that this thread has started; a barrier must follow before other threads' copies are
/// read.
__device__ __forceinline__ void wait_for_copies() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_all;" ::: "memory");
#else
  host_cuda::wait_for_copies();
#endif
}

}  // namespace toller
