// The CUDA execution model on one CPU thread. Blocks run one after the other. The threads of a block are
// fibers that give way only where they wait: at a block barrier or at a warp operation. A thread that never
// waits is a plain function call.
//
// Checked, as errors that name kernel, block, thread and line (host_cuda::Error out of the launch):
//   - a barrier or warp operation that some of its threads never reach (they left the kernel or wait
//   elsewhere);
//   - __syncthreads() of one barrier at different lines;
//   - a warp operation by a lane that is not in its own mask, or with a value from a lane that takes no part.
// Launches are held to CUDA's limits for block, grid and dynamic shared memory. Dynamic shared memory is
// filled with NaN bits before every block; static shared memory keeps what the block before left there. Not
// seen: races on shared or global memory (running the threads in both orders, ThreadOrder, makes many of them
// show).
#pragma once

#include <cstddef>
#include <source_location>
#include <stdexcept>
#include <string>

#include "host_cuda/vector_types.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
/// One copy for the threads of a block, which all run on this CPU thread.
#define __shared__ static thread_local

namespace host_cuda {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The running thread's built-in variables.
struct ThreadIndices {
  uint3 thread{};
  uint3 block{};
  dim3 block_size;
  dim3 grid_size;
  unsigned rank = 0;  ///< number in the block
};

extern constinit thread_local ThreadIndices* current;

/// In which order the threads of a block get to run; a kernel's result must not depend on it. Ascending: all
/// threads go on side by side. Descending: the last thread first, and after a wait a warp runs ahead of the
/// others as far as it can, which shows where a barrier is missing between a read and the next write.
enum class ThreadOrder { kAscending, kDescending };
void set_thread_order(ThreadOrder order);

/// Waits for all threads of the block; returns how many came with a predicate that is not 0.
int block_barrier(int predicate, const char* operation, const std::source_location& where);

/// A warp operation: waits until every lane of `mask` has called it with the same mask and operation; the
/// last to come calls `complete` once, with the payloads of all 32 lanes (null outside the mask). A payload
/// may lie on its thread's stack.
using Complete = void (*)(void* const* payloads, unsigned mask);
void warp_collective(unsigned mask, void* payload, Complete complete, const char* operation,
                     const std::source_location& where);

/// The block's dynamic shared memory, aligned to 128 bytes and followed by a guard page.
void* dynamic_shared_memory();

/// Stops the kernel with an error that names kernel, block, thread and line.
[[noreturn]] void fail_in_kernel(const std::string& what, const std::source_location& where);

/// Runs call(closure) once for every thread of the grid. A launch beyond CUDA's limits sets
/// cudaGetLastError() and runs nothing.
void run_grid(const char* kernel, const void* function, dim3 grid, dim3 block, std::size_t shared_bytes,
              void (*call)(void*), void* closure);

template <class Body>
void run_grid(const char* kernel, const void* function, dim3 grid, dim3 block, std::size_t shared_bytes,
              Body body) {
  run_grid(
      kernel, function, grid, block, shared_bytes, [](void* closure) { (*static_cast<Body*>(closure))(); },
      &body);
}

}  // namespace host_cuda

#define threadIdx (::host_cuda::current->thread)
#define blockIdx (::host_cuda::current->block)
#define blockDim (::host_cuda::current->block_size)
#define gridDim (::host_cuda::current->grid_size)
inline constexpr int warpSize = 32;
