// Rows cut to their first columns, and their gradients. A warp has a row and goes through it twice; the
// second time it comes from the first-level cache. With w = sizeof(T): cut_rows reads and writes w bytes an
// element that stays, add_cut_gradient reads 8 + w and writes 4.
#include "cuda/cut_rows.cuh"

#include "cuda/bfloat16.cuh"
#include "cuda/launch.cuh"
#include "cuda/reduce.cuh"
#include "cuda/row.cuh"

namespace toller {
namespace {

constexpr int kWarps = 4;

unsigned row_blocks(std::int64_t rows) {
  return static_cast<unsigned>((rows + kWarps - 1) / kWarps);
}

__device__ __forceinline__ std::int64_t row_of_warp() {
  return std::int64_t{blockIdx.x} * kWarps + threadIdx.y;
}

template <class T>
__global__ void __launch_bounds__(32 * kWarps)
    cut_rows_kernel(std::int64_t rows, std::int64_t dimension, std::int64_t kept, const T* x, float* norm,
                    T* cut) {
  const std::int64_t row = row_of_warp();
  if (row >= rows) return;
  const T* from = x + row * dimension;
  float scale = 1;
  if (norm != nullptr) {
    float squares = 0;
    for (std::int64_t j = threadIdx.x; j < kept; j += 32) squares += to_float(from[j]) * to_float(from[j]);
    const float length = sqrtf(warp_sum(squares));
    scale = inverse_norm(length);
    if (threadIdx.x == 0) norm[row] = length;
  }
  for (std::int64_t j = threadIdx.x; j < kept; j += 32) {
    cut[row * kept + j] = from_float<T>(to_float(from[j]) * scale);
  }
}

template <class T>
__global__ void __launch_bounds__(32 * kWarps)
    add_cut_gradient_kernel(std::int64_t rows, std::int64_t dimension, std::int64_t kept, const T* x,
                            const float* norm, const float* d_cut, float* dx) {
  const std::int64_t row = row_of_warp();
  if (row >= rows) return;
  const T* from = x + row * dimension;
  const float* d = d_cut + row * kept;
  float scale = 1, along = 0;
  if (norm != nullptr) {
    for (std::int64_t j = threadIdx.x; j < kept; j += 32) along += to_float(from[j]) * d[j];
    scale = inverse_norm(norm[row]);
    along = warp_sum(along) * scale * scale;
  }
  for (std::int64_t j = threadIdx.x; j < kept; j += 32) {
    dx[row * dimension + j] += (d[j] - to_float(from[j]) * along) * scale;
  }
}

}  // namespace

template <class T>
void cut_rows(std::int64_t rows, std::int64_t dimension, std::int64_t kept, const T* x, float* norm, T* cut,
              cudaStream_t stream) {
  if (rows == 0) return;
  launch<cut_rows_kernel<T>>(row_blocks(rows), dim3(32, kWarps), 0, stream, rows, dimension, kept, x, norm,
                             cut);
}

template <class T>
void add_cut_gradient(std::int64_t rows, std::int64_t dimension, std::int64_t kept, const T* x,
                      const float* norm, const float* d_cut, float* dx, cudaStream_t stream) {
  if (rows == 0) return;
  launch<add_cut_gradient_kernel<T>>(row_blocks(rows), dim3(32, kWarps), 0, stream, rows, dimension, kept, x,
                                     norm, d_cut, dx);
}

#define TOLLER_INSTANTIATE(T)                                                                              \
  template void cut_rows<T>(std::int64_t, std::int64_t, std::int64_t, const T*, float*, T*, cudaStream_t); \
  template void add_cut_gradient<T>(std::int64_t, std::int64_t, std::int64_t, const T*, const float*,      \
                                    const float*, float*, cudaStream_t);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(bfloat16)
#undef TOLLER_INSTANTIATE

}  // namespace toller
