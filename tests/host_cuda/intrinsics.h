// CUDA's device functions: barriers, warp operations, atomics, bit casts, fast mathematics.
#pragma once

#include <bit>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "host_cuda/execution.h"

#define HOST_CUDA_HERE const std::source_location& where = std::source_location::current()

// ---- barriers and votes of a block
inline void __syncthreads(HOST_CUDA_HERE) {
  host_cuda::block_barrier(0, "__syncthreads", where);
}
inline int __syncthreads_count(int predicate, HOST_CUDA_HERE) {
  return host_cuda::block_barrier(predicate, "__syncthreads_count", where);
}
inline int __syncthreads_or(int predicate, HOST_CUDA_HERE) {
  return host_cuda::block_barrier(predicate, "__syncthreads_or", where) > 0;
}
inline int __syncthreads_and(int predicate, HOST_CUDA_HERE) {
  return host_cuda::block_barrier(!predicate, "__syncthreads_and", where) == 0;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- warp operations
namespace host_cuda {

inline unsigned lane() {
  return current->rank % 32;
}

/// What a lane brings to a shuffle or vote and takes away from it.
struct Exchange {
  std::uint64_t value = 0;
  unsigned source = 0;
  std::uint64_t result = 0;
  bool missing = false;  ///< the source lane takes no part
};

inline void complete_shuffle(void* const* payloads, unsigned mask) {
  for (unsigned i = 0; i < 32; ++i) {
    if (!(mask >> i & 1)) continue;
    Exchange& lane = *static_cast<Exchange*>(payloads[i]);
    const auto* source = static_cast<const Exchange*>(payloads[lane.source]);
    lane.missing = source == nullptr;
    if (source != nullptr) lane.result = source->value;
  }
}

inline void complete_ballot(void* const* payloads, unsigned mask) {
  std::uint64_t ballot = 0;
  for (unsigned i = 0; i < 32; ++i) {
    if ((mask >> i & 1) && static_cast<const Exchange*>(payloads[i])->value != 0)
      ballot |= std::uint64_t{1} << i;
  }
  for (unsigned i = 0; i < 32; ++i) {
    if (mask >> i & 1) static_cast<Exchange*>(payloads[i])->result = ballot;
  }
}

template <class T>
T shuffle(unsigned mask, T value, unsigned source, const char* operation, const std::source_location& where) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  Exchange exchange{.source = source};
  std::memcpy(&exchange.value, &value, sizeof(T));
  warp_collective(mask, &exchange, complete_shuffle, operation, where);
  if (exchange.missing) {
    fail_in_kernel(
        std::string(operation) + " reads lane " + std::to_string(source) + ", which is not in the mask",
        where);
  }
  std::memcpy(&value, &exchange.result, sizeof(T));
  return value;
}

inline unsigned ballot(unsigned mask, int predicate, const char* operation,
                       const std::source_location& where) {
  Exchange exchange{.value = predicate != 0};
  warp_collective(mask, &exchange, complete_ballot, operation, where);
  return static_cast<unsigned>(exchange.result);
}

}  // namespace host_cuda

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, HOST_CUDA_HERE) {
  const unsigned w = static_cast<unsigned>(width), first = host_cuda::lane() / w * w;
  return host_cuda::shuffle(mask, value, first + static_cast<unsigned>(source) % w, "__shfl_sync", where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, HOST_CUDA_HERE) {
  const unsigned w = static_cast<unsigned>(width), lane = host_cuda::lane();
  const unsigned other = lane ^ static_cast<unsigned>(lane_mask);
  return host_cuda::shuffle(mask, value, other < (lane / w + 1) * w ? other : lane, "__shfl_xor_sync", where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, HOST_CUDA_HERE) {
  const unsigned w = static_cast<unsigned>(width), lane = host_cuda::lane();
  return host_cuda::shuffle(mask, value, lane % w + delta < w ? lane + delta : lane, "__shfl_down_sync",
                            where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, HOST_CUDA_HERE) {
  const unsigned w = static_cast<unsigned>(width), lane = host_cuda::lane();
  return host_cuda::shuffle(mask, value, lane % w >= delta ? lane - delta : lane, "__shfl_up_sync", where);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, HOST_CUDA_HERE) {
  return host_cuda::ballot(mask, predicate, "__ballot_sync", where);
}
inline int __any_sync(unsigned mask, int predicate, HOST_CUDA_HERE) {
  return host_cuda::ballot(mask, predicate, "__any_sync", where) != 0;
}
inline int __all_sync(unsigned mask, int predicate, HOST_CUDA_HERE) {
  return host_cuda::ballot(mask, predicate, "__all_sync", where) == mask;
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, HOST_CUDA_HERE) {
  host_cuda::ballot(mask, 0, "__syncwarp", where);
}
#undef HOST_CUDA_HERE

// ---- atomics: one CPU thread runs the whole grid, so that plain operations are atomic
template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = static_cast<T>(old + value);
  return old;
}
template <class T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  if (value > old) *address = value;
  return old;
}
template <class T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  if (value < old) *address = value;
  return old;
}
template <class T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = value;
  return old;
}
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  const T old = *address;
  if (old == expected) *address = value;
  return old;
}
template <class T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  const T old = *address;
  *address = old | value;
  return old;
}

// ---- memory and bits
template <class T>
T __ldg(const T* address) {
  return *address;
}
inline unsigned __float_as_uint(float x) {
  return std::bit_cast<unsigned>(x);
}
inline int __float_as_int(float x) {
  return std::bit_cast<int>(x);
}
inline float __uint_as_float(unsigned x) {
  return std::bit_cast<float>(x);
}
inline float __int_as_float(int x) {
  return std::bit_cast<float>(x);
}
inline long long __double_as_longlong(double x) {
  return std::bit_cast<long long>(x);
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(std::uint64_t{a} * b >> 32);
}
inline int __popc(unsigned x) {
  return std::popcount(x);
}
inline int __clz(int x) {
  return std::countl_zero(static_cast<unsigned>(x));
}
inline int __ffs(int x) {
  return __builtin_ffs(x);
}

// ---- mathematics
inline float rsqrtf(float x) {
  return 1.0f / std::sqrt(x);
}
inline float __expf(float x) {
  return std::exp(x);
}
inline float __logf(float x) {
  return std::log(x);
}
inline float __fdividef(float a, float b) {
  return a / b;
}
inline float __fmaf_rn(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline float __fadd_rn(float a, float b) {
  return a + b;
}
inline float __fmul_rn(float a, float b) {
  return a * b;
}
inline float __frcp_rn(float x) {
  return 1.0f / x;
}

template <class A, class B>
requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  return static_cast<T>(b) < static_cast<T>(a) ? static_cast<T>(b) : static_cast<T>(a);
}
template <class A, class B>
requires std::is_arithmetic_v<A> && std::is_arithmetic_v<B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a);
}
