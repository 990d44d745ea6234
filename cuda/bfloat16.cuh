// Storage types of the kernels: float in the verification mode, bfloat16 otherwise; arithmetic is float in
// both. bfloat16 keeps 8 significant bits: a rounding moves a value by at most 2⁻⁹ of its binade's upper end,
// that is by less than 2⁻⁸ of the value.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace toller {

using bfloat16 = __nv_bfloat16;

__host__ __device__ __forceinline__ float to_float(float x) {
  return x;
}
__host__ __device__ __forceinline__ float to_float(bfloat16 x) {
  return __bfloat162float(x);
}

/// Rounds to nearest even.
template <class T>
__host__ __device__ __forceinline__ T from_float(float x);
template <>
__host__ __device__ __forceinline__ float from_float<float>(float x) {
  return x;
}
template <>
__host__ __device__ __forceinline__ bfloat16 from_float<bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

/// Elements of T in 16 bytes: the width of the widest access of a thread.
template <class T>
inline constexpr int kVector = 16 / static_cast<int>(sizeof(T));

/// N consecutive elements, moved as one access when N · sizeof(T) is 4, 8 or 16; the address is aligned to
/// that.
template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
  T values[N];
};

/// x [N] = the N elements at `from`, in one access.
template <int N, class T>
__device__ __forceinline__ void load(const T* from, float (&x)[N]) {
  const auto vector = *reinterpret_cast<const Vector<T, N>*>(from);
#pragma unroll
  for (int i = 0; i < N; ++i) x[i] = to_float(vector.values[i]);
}

/// The N elements at `to` = x [N], rounded, in one access.
template <int N, class T>
__device__ __forceinline__ void store(T* to, const float (&x)[N]) {
  Vector<T, N> vector;
#pragma unroll
  for (int i = 0; i < N; ++i) vector.values[i] = from_float<T>(x[i]);
  *reinterpret_cast<Vector<T, N>*>(to) = vector;
}

}  // namespace toller
