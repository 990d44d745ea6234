// Arrays element by element: only bytes count.
//   convert: reads 4, writes 2 bytes an element. scale: reads 4, writes 4. add_scaled: reads 8, writes 4.
// A thread takes 16 bytes at a time where the addresses allow it; what is left at the end goes element by
// element, in a launch of its own.
#include "cuda/elementwise.cuh"

#include "cuda/launch.cuh"

namespace toller {
namespace {

constexpr int kThreads = 256;
/// Vectors a thread: loads in flight together.
constexpr int kVectors = 4;

template <int V>
unsigned blocks_for(std::int64_t n) {
  constexpr std::int64_t kElements = std::int64_t{kThreads} * kVectors * V;
  return static_cast<unsigned>((n + kElements - 1) / kElements);
}

/// to [n] = from · factor, n a multiple of V. `to` may be `from`.
template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    scaled_kernel(std::int64_t n, float factor, const float* from, T* to) {
  const std::int64_t first = (std::int64_t{blockIdx.x} * kThreads * kVectors + threadIdx.x) * V;
  constexpr std::int64_t kStride = kThreads * V;
  float values[kVectors][V];
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    if (first + k * kStride < n) load(from + first + k * kStride, values[k]);
  }
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    if (first + k * kStride >= n) break;
#pragma unroll
    for (int i = 0; i < V; ++i) values[k][i] *= factor;
    store(to + first + k * kStride, values[k]);
  }
}

/// y [n] += factor · x, n a multiple of V.
template <int V>
__global__ void __launch_bounds__(kThreads)
    add_scaled_kernel(std::int64_t n, float factor, const float* x, float* y) {
  const std::int64_t first = (std::int64_t{blockIdx.x} * kThreads * kVectors + threadIdx.x) * V;
  constexpr std::int64_t kStride = kThreads * V;
  float values[kVectors][V], sums[kVectors][V];
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    if (first + k * kStride >= n) break;
    load(x + first + k * kStride, values[k]);
    load(y + first + k * kStride, sums[k]);
  }
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    if (first + k * kStride >= n) break;
#pragma unroll
    for (int i = 0; i < V; ++i) sums[k][i] += factor * values[k][i];
    store(y + first + k * kStride, sums[k]);
  }
}

template <class T>
void write_scaled(std::int64_t n, float factor, const float* from, T* to, cudaStream_t stream) {
  constexpr int V = 4;
  const bool vectors = reinterpret_cast<std::uintptr_t>(from) % 16 == 0 &&
                       reinterpret_cast<std::uintptr_t>(to) % (V * sizeof(T)) == 0;
  const std::int64_t whole = vectors ? n / V * V : 0, rest = n - whole;
  if (whole > 0) {
    launch<scaled_kernel<T, V>>(blocks_for<V>(whole), kThreads, 0, stream, whole, factor, from, to);
  }
  if (rest > 0) {
    launch<scaled_kernel<T, 1>>(blocks_for<1>(rest), kThreads, 0, stream, rest, factor, from + whole,
                                to + whole);
  }
}

}  // namespace

void convert(std::int64_t n, const float* from, bfloat16* to, cudaStream_t stream) {
  write_scaled(n, 1.0f, from, to, stream);
}

void scale(std::int64_t n, float factor, float* x, cudaStream_t stream) {
  write_scaled(n, factor, x, x, stream);
}

void add_scaled(std::int64_t n, float factor, const float* x, float* y, cudaStream_t stream) {
  constexpr int V = 4;
  const bool vectors =
      (reinterpret_cast<std::uintptr_t>(x) | reinterpret_cast<std::uintptr_t>(y)) % (V * sizeof(float)) == 0;
  const std::int64_t whole = vectors ? n / V * V : 0, rest = n - whole;
  if (whole > 0) {
    launch<add_scaled_kernel<V>>(blocks_for<V>(whole), kThreads, 0, stream, whole, factor, x, y);
  }
  if (rest > 0) {
    launch<add_scaled_kernel<1>>(blocks_for<1>(rest), kThreads, 0, stream, rest, factor, x + whole,
                                 y + whole);
  }
}

}  // namespace toller
