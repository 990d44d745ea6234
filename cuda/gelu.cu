// GELU(x) = x Φ(x), Φ the normal distribution function: Φ(x) = (1 + erf(x / √2)) / 2; GELU'(x) = Φ(x) + x
// φ(x).
//   forward bytes an element, w = sizeof(T): reads x, writes pre and y: 3 w. About 30 operations, most of
//   them in erff. backward bytes: reads pre and d, writes d: 3 w. About 45 operations (erff and an
//   exponential).
// The output is that of the rounded pre, which is what the backward pass sees. A thread takes 16 bytes at a
// time where the number of columns and the addresses allow it.
#include "cuda/gelu.cuh"

#include "cuda/bfloat16.cuh"
#include "cuda/launch.cuh"

namespace toller {
namespace {

constexpr int kThreads = 256;
/// Vectors a thread: enough work to be worth its start.
constexpr int kVectors = 4;

__device__ __forceinline__ float normal_cdf(float x) {
  return 0.5f * (1.0f + erff(x * 0.70710678118654752440f));
}

__device__ __forceinline__ float gelu_derivative(float x) {
  return normal_cdf(x) + x * (0.39894228040143267794f * expf(-0.5f * x * x));
}

/// body(first element) for the vectors of the thread, V elements each, of n.
template <int V, class Body>
__device__ __forceinline__ void for_elements(std::int64_t n, Body body) {
  const std::int64_t block = std::int64_t{blockIdx.x} * kThreads * kVectors;
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    const std::int64_t at = (block + k * kThreads + threadIdx.x) * V;
    if (at < n) body(at);
  }
}

template <int V>
unsigned blocks_for(std::int64_t n) {
  constexpr std::int64_t kElements = std::int64_t{kThreads} * kVectors * V;
  return static_cast<unsigned>((n + kElements - 1) / kElements);
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    bias_gelu_kernel(std::int64_t n, std::int64_t columns, const T* x, const T* bias, T* pre, T* y) {
  for_elements<V>(n, [&](std::int64_t at) {
    float value[V], b[V] = {};
    load(x + at, value);
    if (bias != nullptr) load(bias + at % columns, b);
#pragma unroll
    for (int i = 0; i < V; ++i) value[i] = to_float(from_float<T>(value[i] + b[i]));
    if (pre != x || bias != nullptr) store(pre + at, value);
#pragma unroll
    for (int i = 0; i < V; ++i) value[i] *= normal_cdf(value[i]);
    store(y + at, value);
  });
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads) gelu_backward_kernel(std::int64_t n, const T* pre, T* d) {
  for_elements<V>(n, [&](std::int64_t at) {
    float x[V], gradient[V];
    load(pre + at, x);
    load(d + at, gradient);
#pragma unroll
    for (int i = 0; i < V; ++i) gradient[i] *= gelu_derivative(x[i]);
    store(d + at, gradient);
  });
}

template <class... Pointers>
bool aligned(const Pointers*... pointers) {
  return ((reinterpret_cast<std::uintptr_t>(pointers) % 16 == 0) && ...);
}

}  // namespace

template <class T>
void bias_gelu(std::int64_t rows, std::int64_t columns, const T* x, const T* bias, T* pre, T* y,
               cudaStream_t stream) {
  const std::int64_t n = rows * columns;
  if (n == 0) return;
  constexpr int V = kVector<T>;
  if (columns % V == 0 && aligned(x, bias, pre, y)) {
    launch<bias_gelu_kernel<T, V>>(blocks_for<V>(n), kThreads, 0, stream, n, columns, x, bias, pre, y);
  } else {
    launch<bias_gelu_kernel<T, 1>>(blocks_for<1>(n), kThreads, 0, stream, n, columns, x, bias, pre, y);
  }
}

template <class T>
void gelu_backward(std::int64_t n, const T* pre, T* d, cudaStream_t stream) {
  if (n == 0) return;
  constexpr int V = kVector<T>;
  if (n % V == 0 && aligned(pre, d)) {
    launch<gelu_backward_kernel<T, V>>(blocks_for<V>(n), kThreads, 0, stream, n, pre, d);
  } else {
    launch<gelu_backward_kernel<T, 1>>(blocks_for<1>(n), kThreads, 0, stream, n, pre, d);
  }
}

#define TOLLER_INSTANTIATE(T)                                                                       \
  template void bias_gelu<T>(std::int64_t, std::int64_t, const T*, const T*, T*, T*, cudaStream_t); \
  template void gelu_backward<T>(std::int64_t, const T*, T*, cudaStream_t);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(bfloat16)
#undef TOLLER_INSTANTIATE

}  // namespace toller
