// Launching a kernel and taking dynamic shared memory: the two places where nvcc's syntax and the CPU
// execution model of tests/host_cuda differ. Everything else in cuda/ is plain CUDA.
//
//   launch<kernel<T, 4>>(grid, block, shared_bytes, stream, arguments...);
//
// Arguments have exactly the kernel's parameter types where they are deduced there. A launch that CUDA
// refuses throws toller::Error with the kernel's name.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace toller {

/// Throws toller::Error that names the call and the error. `call` may be a function's pretty name.
[[noreturn]] void fail_cuda(const char* call, cudaError_t error);

/// Throws toller::Error: `what` is `size`, and the CUDA backend takes it up to `limit`.
[[noreturn]] void fail_size(const char* what, std::int64_t size, std::int64_t limit);

/// Throws toller::Error unless the call succeeded.
inline void check_cuda(cudaError_t error, const char* call) {
  if (error != cudaSuccess) fail_cuda(call, error);
}

/// "… launch(…) [with auto Kernel = f<float>; …]" → "f<float>"; other names stay as they are.
std::string kernel_name(std::string pretty_function);

#if defined(__CUDACC__) || defined(HOST_CUDA)
template <auto Kernel, class... Arguments>
void launch(dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream, Arguments... arguments) {
#if defined(__CUDACC__)
  Kernel<<<grid, block, shared_bytes, stream>>>(arguments...);
#else
  (void)stream;
  host_cuda::run_grid(kernel_name(__PRETTY_FUNCTION__).c_str(), reinterpret_cast<const void*>(Kernel), grid,
                      block, shared_bytes, [&] { Kernel(arguments...); });
#endif
  check_cuda(cudaGetLastError(), __PRETTY_FUNCTION__);
}

/// Lets a kernel be launched with more than 48 KiB of dynamic shared memory.
template <auto Kernel>
void allow_shared_memory(std::size_t bytes) {
  check_cuda(
      cudaFuncSetAttribute(Kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
      __PRETTY_FUNCTION__);
}

/// The block's dynamic shared memory, aligned to 16 bytes.
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
#if defined(__CUDACC__)
  extern __shared__ __align__(16) unsigned char toller_dynamic_shared[];
  return reinterpret_cast<T*>(toller_dynamic_shared);
#else
  return static_cast<T*>(host_cuda::dynamic_shared_memory());
#endif
}
#endif

}  // namespace toller
