// Layer norm of rows in registers, for the kernels that end in one or begin its backward pass.
//   y = (s − mean) · rstd · gain + bias,  rstd = 1 / √(var + ε), var the mean of squares about the mean
//   backward, with x̂ = (s − mean) · rstd and g = dy ∘ gain:  ds = rstd · (g − ⟨g⟩ − x̂ ⟨g ∘ x̂⟩)
// The sum s is rounded to its storage type first: statistics, output and backward pass see the same numbers.
#pragma once

#include "cuda/row.cuh"

namespace toller {

/// Blocks of a backward pass at most: two for each of the 132 multiprocessors of an H100 or H200. The number
/// does not depend on the device, so that neither do the bits of a sum over rows.
inline constexpr int kNormBackwardBlocks = 264;

/// Statistics of s over the row; s is 0 in the columns that are not there.
template <int V, int Threads>
__device__ __forceinline__ void row_statistics(const RowPart<V, Threads>& part, float epsilon,
                                               const float (&s)[kThreadColumns], float& mean, float& rstd) {
  float total = 0;
#pragma unroll
  for (int i = 0; i < kThreadColumns; ++i) total += s[i];
  mean = group_sum<Threads>(total) / static_cast<float>(part.hidden);
  float squares = 0;
  part.for_vectors([&](int index, int) {
#pragma unroll
    for (int i = 0; i < V; ++i) squares += (s[index + i] - mean) * (s[index + i] - mean);
  });
  rstd = 1.0f / sqrtf(group_sum<Threads>(squares) / static_cast<float>(part.hidden) + epsilon);
}

/// s ← (s − mean) · rstd · gain + bias
template <int V, int Threads, class T>
__device__ __forceinline__ void normalize_row(const RowPart<V, Threads>& part, const T* gain, const T* bias,
                                              float mean, float rstd, float (&s)[kThreadColumns]) {
  part.for_vectors([&](int index, int column) {
    float g[V], b[V];
    load(gain + column, g);
    load(bias + column, b);
#pragma unroll
    for (int i = 0; i < V; ++i) s[index + i] = (s[index + i] - mean) * rstd * g[i] + b[i];
  });
}

/// A thread's share of the gradients of gain and bias.
struct NormGradientSums {
  float gain[kThreadColumns] = {};
  float bias[kThreadColumns] = {};
};

/// dy, the gradient of the norm's output, becomes that of its input; `unit` holds s. Adds to `sums`.
template <int V, int Threads, class T>
__device__ __forceinline__ void norm_row_backward(const RowPart<V, Threads>& part, const T* gain, float mean,
                                                  float rstd, float (&unit)[kThreadColumns],
                                                  float (&dy)[kThreadColumns], NormGradientSums& sums) {
  float sum = 0, sum_scaled = 0;
  part.for_vectors([&](int index, int column) {
    float g[V];
    load(gain + column, g);
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const int at = index + i;
      unit[at] = (unit[at] - mean) * rstd;
      sums.gain[at] += dy[at] * unit[at];
      sums.bias[at] += dy[at];
      dy[at] *= g[i];
      sum += dy[at];
      sum_scaled += dy[at] * unit[at];
    }
  });
  sum = group_sum<Threads>(sum) / static_cast<float>(part.hidden);
  sum_scaled = group_sum<Threads>(sum_scaled) / static_cast<float>(part.hidden);
#pragma unroll
  for (int i = 0; i < kThreadColumns; ++i) dy[i] = rstd * (dy[i] - sum - unit[i] * sum_scaled);
}

/// total [hidden] = the rows' shares in x, added up in row order; the block's threads all call it.
template <int V, int Threads>
__device__ __forceinline__ void add_up_block(const RowPart<V, Threads>& part,
                                             const float (&x)[kThreadColumns], float* total) {
  using Part = RowPart<V, Threads>;
  __shared__ float rows[kMaxRowColumns];
  __syncthreads();
  part.for_vectors([&](int index, int column) {
#pragma unroll
    for (int i = 0; i < V; ++i) rows[part.row() * part.hidden + column + i] = x[index + i];
  });
  __syncthreads();
  for (int column = static_cast<int>(threadIdx.x); column < part.hidden; column += kRowBlockThreads) {
    float sum = 0;
#pragma unroll
    for (int row = 0; row < Part::kRows; ++row) sum += rows[row * part.hidden + column];
    total[column] = sum;
  }
}

/// Blocks of a backward pass over `rows` rows, `rows_at_a_time` of them in a block.
inline int norm_backward_blocks(std::int64_t rows, int rows_at_a_time) {
  const std::int64_t needed = (rows + rows_at_a_time - 1) / rows_at_a_time;
  return static_cast<int>(needed < kNormBackwardBlocks ? needed : kNormBackwardBlocks);
}

}  // namespace toller
