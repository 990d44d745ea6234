// Bias, dropout, residual and layer norm, forward and backward; the mathematics is in norm_row.cuh.
//   forward bytes an element, w = sizeof(T): reads x, residual; writes x, y: 4 w. About 10 operations, and 25
//   integer operations for the dropout mask.
//   backward bytes: reads dy, sum; writes dsum and, where it differs, dx: 3 w or 4 w. About 14 operations.
//   The gradients of gain and bias gather in registers while a block goes through its rows; 264 blocks at
//   most leave their sums in the workspace and a second, small kernel adds them up in a fixed order.
// A row is in registers from its first to its last use. Rows up to 4,096 columns.
#include "cuda/norm.cuh"

#include "cuda/column_sums.cuh"
#include "cuda/launch.cuh"
#include "cuda/norm_row.cuh"

namespace toller {
namespace {

template <class T>
struct ResidualNorm {
  const std::int64_t* global_row;
  T* x;
  const T *x_bias, *residual, *gain, *bias;
  float epsilon;
  DropoutMask mask;
  float *mean, *rstd;
  T* y;
};

template <class T, int V, int Threads>
__global__ void __launch_bounds__(kRowBlockThreads)
    residual_norm_kernel(std::int64_t rows, int hidden, ResidualNorm<T> p) {
  using Part = RowPart<V, Threads>;
  const Part part(hidden);
  const std::int64_t row = std::int64_t{blockIdx.x} * Part::kRows + part.row();
  const bool there = row < rows;
  float s[kThreadColumns] = {};
  if (there) {
    part.for_vectors([&](int index, int column) {
      float x[V], b[V];
      load(p.x + row * hidden + column, x);
      load(p.x_bias + column, b);
#pragma unroll
      for (int i = 0; i < V; ++i) s[index + i] = x[i] + b[i];
    });
    if (p.mask.active) part.apply_dropout(p.mask, p.global_row[row], s);
    part.for_vectors([&](int index, int column) {
      float r[V];
      load(p.residual + row * hidden + column, r);
#pragma unroll
      for (int i = 0; i < V; ++i) s[index + i] = to_float(from_float<T>(r[i] + s[index + i]));
      store_at<V>(p.x + row * hidden + column, index, s);
    });
  }
  float mean, rstd;
  row_statistics(part, p.epsilon, s, mean, rstd);
  if (!there) return;
  normalize_row(part, p.gain, p.bias, mean, rstd, s);
  part.for_vectors([&](int index, int column) { store_at<V>(p.y + row * hidden + column, index, s); });
  if (part.lane() == 0) {
    p.mean[row] = mean;
    p.rstd[row] = rstd;
  }
}

template <class T>
struct ResidualNormBackward {
  const std::int64_t* global_row;
  const T *dy, *sum;  // dy may be dsum
  const float *mean, *rstd;
  const T* gain;
  DropoutMask mask;
  T *dsum, *dx;
  float* partial;  // [blocks, 2, hidden]
};

/// dsum and dx of one row from its gradient in d.
template <int V, int Threads, class T>
__device__ __forceinline__ void store_gradients(const RowPart<V, Threads>& part, std::int64_t row,
                                                const ResidualNormBackward<T>& p,
                                                float (&d)[kThreadColumns]) {
  const std::int64_t first = row * part.hidden;
  part.for_vectors([&](int index, int column) { store_at<V>(p.dsum + first + column, index, d); });
  if (p.mask.active) part.apply_dropout(p.mask, p.global_row[row], d);
  if (p.mask.active || p.dx != p.dsum) {
    part.for_vectors([&](int index, int column) { store_at<V>(p.dx + first + column, index, d); });
  }
}

template <class T, int V, int Threads>
__global__ void __launch_bounds__(kRowBlockThreads)
    residual_norm_backward_kernel(std::int64_t rows, int hidden, ResidualNormBackward<T> p) {
  using Part = RowPart<V, Threads>;
  const Part part(hidden);
  NormGradientSums sums;
  for (std::int64_t first = std::int64_t{blockIdx.x} * Part::kRows; first < rows;
       first += std::int64_t{gridDim.x} * Part::kRows) {
    const std::int64_t row = first + part.row();
    const bool there = row < rows;
    float s[kThreadColumns] = {}, d[kThreadColumns] = {};
    if (there) {
      part.for_vectors([&](int index, int column) {
        load_at<V>(p.dy + row * hidden + column, index, d);
        load_at<V>(p.sum + row * hidden + column, index, s);
      });
    }
    norm_row_backward(part, p.gain, there ? p.mean[row] : 0.0f, there ? p.rstd[row] : 0.0f, s, d, sums);
    if (there) store_gradients(part, row, p, d);
  }
  float* partial = p.partial + std::int64_t{blockIdx.x} * 2 * hidden;
  add_up_block(part, sums.gain, partial);
  add_up_block(part, sums.bias, partial + hidden);
}

}  // namespace

template <class T>
void residual_norm(std::int64_t rows, std::int64_t hidden, const std::int64_t* global_row, T* x,
                   const T* x_bias, const T* residual, const T* gain, const T* bias, float epsilon,
                   const Dropout& dropout, float* mean, float* rstd, T* y, cudaStream_t stream) {
  if (rows == 0) return;
  const ResidualNorm<T> p{global_row, x,    x_bias, residual, gain, bias, epsilon, make_dropout_mask(dropout),
                          mean,       rstd, y};
  const bool vectors = vector_rows<T>(hidden, x, x_bias, residual, gain, bias, y);
  choose_row_part<T>(hidden, vectors, [&]<int V, int Threads>() {
    const int at_a_time = RowPart<V, Threads>::kRows;
    const auto blocks = static_cast<unsigned>((rows + at_a_time - 1) / at_a_time);
    launch<residual_norm_kernel<T, V, Threads>>(blocks, kRowBlockThreads, 0, stream, rows,
                                                static_cast<int>(hidden), p);
  });
}

std::int64_t norm_backward_workspace(std::int64_t rows, std::int64_t hidden) {
  return norm_backward_blocks(rows, 1) * 2 * hidden;
}

template <class T>
void residual_norm_backward(std::int64_t rows, std::int64_t hidden, const std::int64_t* global_row,
                            const T* dy, const T* sum, const float* mean, const float* rstd, const T* gain,
                            const Dropout& dropout, T* dsum, T* dx, float* dgain, float* dbias,
                            float* workspace, cudaStream_t stream) {
  if (rows == 0) return;
  const ResidualNormBackward<T> p{global_row, dy, sum,      mean, rstd, gain, make_dropout_mask(dropout),
                                  dsum,       dx, workspace};
  const bool vectors = vector_rows<T>(hidden, dy, sum, gain, dsum, dx);
  choose_row_part<T>(hidden, vectors, [&]<int V, int Threads>() {
    const int blocks = norm_backward_blocks(rows, RowPart<V, Threads>::kRows);
    launch<residual_norm_backward_kernel<T, V, Threads>>(static_cast<unsigned>(blocks), kRowBlockThreads, 0,
                                                         stream, rows, static_cast<int>(hidden), p);
    add_partials(blocks, hidden, 2 * hidden, workspace, dgain, stream);
    add_partials(blocks, hidden, 2 * hidden, workspace + hidden, dbias, stream);
  });
}

#define TOLLER_INSTANTIATE(T)                                                                             \
  template void residual_norm<T>(std::int64_t, std::int64_t, const std::int64_t*, T*, const T*, const T*, \
                                 const T*, const T*, float, const Dropout&, float*, float*, T*,           \
                                 cudaStream_t);                                                           \
  template void residual_norm_backward<T>(std::int64_t, std::int64_t, const std::int64_t*, const T*,      \
                                          const T*, const float*, const float*, const T*, const Dropout&, \
                                          T*, T*, float*, float*, float*, cudaStream_t);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(bfloat16)
#undef TOLLER_INSTANTIATE

}  // namespace toller
