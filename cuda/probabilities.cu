// Tiles of probabilities x = e^{(s − max) k} / sum, float, k = inverse_temperature, and what a function of
// them has as derivatives,
//   G_im = c_m + f (x_im − p_ij r_m),  m in list j:  Σ_m x_im G_im,  then  k x_im (G_im − Σ_m x_im G_im).
//
// Counted for a tile of n scores, w = sizeof(T); the numbers of columns (24 bytes) are read once for every
// kRowBatch rows of a thread:
//                      bytes             operations
//   probabilities      8 n               an exponential and 3 n
//   moments            8 n               5 n (rows and columns apart)
//   list sums          4 n at most       2 n at most, in double
//   mean slopes        (4 + 24/4) n      6 n
//   gradient           (4 + w + 24/8) n  7 n
// Bytes are the limit throughout; a tile of 1,024 × 8,192 lies in an H100's second-level cache. Threads side
// by side have columns side by side. The p of a list (8 bytes) is the same for neighbouring columns.
//
// Sums: up to kTermsInFloat terms in float, beyond in double.
#include "cuda/probabilities.cuh"

#include "cuda/bfloat16.cuh"
#include "cuda/launch.cuh"
#include "cuda/reduce.cuh"
#include "device/gaussian_distance.h"

namespace toller {
namespace {

constexpr int kThreads = 256;
constexpr double kLog2E = 1.4426950408889634074;

/// Where a block has columns side by side: 32 threads, and eight rows of them.
constexpr int kLanes = 32, kRowLanes = kThreads / kLanes;
/// Rows of a thread of the elementwise kernels, and of a block of add_mean_slopes.
constexpr int kBatchRows = 8, kMeanRows = 4;
constexpr int kTermsInFloat = 32;

unsigned parts_of(std::int64_t n, std::int64_t size) {
  return static_cast<unsigned>((n + size - 1) / size);
}

dim3 elementwise_grid(std::int64_t rows, std::int64_t columns) {
  return dim3(parts_of(columns, kLanes), parts_of(rows, kRowLanes * kBatchRows));
}

/// body(row) for the thread's rows of a kernel on elementwise_grid().
template <class Body>
__device__ __forceinline__ void for_rows(std::int64_t rows, Body body) {
#pragma unroll
  for (int k = 0; k < kBatchRows; ++k) {
    const std::int64_t row =
        std::int64_t{blockIdx.y} * (kRowLanes * kBatchRows) + k * kRowLanes + threadIdx.y;
    if (row < rows) body(row);
  }
}

__global__ void __launch_bounds__(kThreads)
    probabilities_kernel(std::int64_t rows, std::int64_t columns, const double* inverse_temperature,
                         const float* max, const double* sum, float* scores) {
  const std::int64_t column = std::int64_t{blockIdx.x} * kLanes + threadIdx.x;
  if (column >= columns) return;
  const auto scale = static_cast<float>(*inverse_temperature * kLog2E);
  for_rows(rows, [&](std::int64_t row) {
    const float shift = max[row] == -INFINITY ? 0.0f : max[row];
    const float share = sum[row] == 0 ? 0.0f : static_cast<float>(1 / sum[row]);
    float& x = scores[row * columns + column];
    x = share * exp2f((x - shift) * scale);
  });
}

/// The block has a row.
__global__ void __launch_bounds__(kThreads)
    row_squares_kernel(std::int64_t columns, const float* x, float center, double* row_square) {
  const float* row = x + std::int64_t{blockIdx.x} * columns;
  double sum = 0;
  for (std::int64_t first = threadIdx.x; first < columns; first += kThreads * kTermsInFloat) {
    float terms = 0;
#pragma unroll 8
    for (int k = 0; k < kTermsInFloat; ++k) {
      const std::int64_t column = first + k * kThreads;
      const float difference = column < columns ? row[column] - center : 0.0f;
      terms += difference * difference;
    }
    sum += static_cast<double>(terms);
  }
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) row_square[blockIdx.x] += sum;
}

/// The block has 32 columns.
__global__ void __launch_bounds__(kThreads)
    probability_column_sums_kernel(std::int64_t rows, std::int64_t columns, const float* x, float center,
                                   double* column_sum) {
  __shared__ double parts[kRowLanes][kLanes];
  const std::int64_t column = std::int64_t{blockIdx.x} * kLanes + threadIdx.x;
  double sum = 0;
  if (column < columns) {
    for (std::int64_t first = threadIdx.y; first < rows; first += kRowLanes * kTermsInFloat) {
      float terms = 0;
#pragma unroll 8
      for (int k = 0; k < kTermsInFloat; ++k) {
        const std::int64_t row = first + k * kRowLanes;
        if (row < rows) terms += x[row * columns + column] - center;
      }
      sum += static_cast<double>(terms);
    }
  }
  parts[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= columns) return;
#pragma unroll
  for (int k = 1; k < kRowLanes; ++k) sum += parts[k][threadIdx.x];
  column_sum[column] += sum;
}

/// A thread has a row and a list.
__global__ void __launch_bounds__(kThreads)
    list_sums_kernel(ScoreTile tile, const float* x, ColumnLists lists, double* sums) {
  const std::int64_t list = std::int64_t{blockIdx.x} * kThreads + threadIdx.x, row = blockIdx.y;
  if (list >= lists.lists) return;
  const std::int64_t from = static_cast<std::int64_t>(lists.begin[list]) - tile.column;
  const std::int64_t to = static_cast<std::int64_t>(lists.end[list]) - tile.column;
  const std::int64_t begin = from > 0 ? from : 0, end = to < tile.columns ? to : tile.columns;
  if (begin >= end) return;
  const double* weight = lists.weight + tile.column;
  double sum = 0;
  for (std::int64_t m = begin; m < end; ++m) {
    sum += static_cast<double>(x[row * tile.columns + m]) * weight[m];
  }
  sums[(tile.row + row) * lists.lists + list] += sum;
}

/// What the slopes of a column are made of.
struct ColumnSlope {
  std::int64_t list;  ///< −1: none
  float base, weight, factor;

  __device__ __forceinline__ ColumnSlope(const ProbabilitySlopes& slopes, std::int64_t column)
      : list(static_cast<std::int64_t>(slopes.lists.number[column]) - 1),
        base(static_cast<float>(slopes.column[column])),
        weight(static_cast<float>(slopes.lists.weight[column])),
        factor(static_cast<float>(slopes.factor)) {}

  /// G of the column; of_list: the numbers of the row's lists.
  __device__ __forceinline__ float at(float x, const double* of_list) const {
    const float other = list < 0 ? 0.0f : static_cast<float>(of_list[list]) * weight;
    return base + factor * (x - other);
  }
};

/// The block has kMeanRows rows.
__global__ void __launch_bounds__(kThreads)
    mean_slopes_kernel(ScoreTile tile, const float* x, ProbabilitySlopes slopes, double* mean) {
  const std::int64_t first_row = std::int64_t{blockIdx.x} * kMeanRows, lists = slopes.lists.lists;
  double sum[kMeanRows] = {};
  for (std::int64_t first = threadIdx.x; first < tile.columns; first += kThreads * kTermsInFloat) {
    float terms[kMeanRows] = {};
    for (int k = 0; k < kTermsInFloat; ++k) {
      const std::int64_t column = first + k * kThreads;
      if (column >= tile.columns) break;
      const ColumnSlope slope(slopes, tile.column + column);
#pragma unroll
      for (int i = 0; i < kMeanRows; ++i) {
        const std::int64_t row = first_row + i;
        if (row >= tile.rows) continue;
        const float value = x[row * tile.columns + column];
        terms[i] += value * slope.at(value, slopes.row_list + (tile.row + row) * lists);
      }
    }
#pragma unroll
    for (int i = 0; i < kMeanRows; ++i) sum[i] += static_cast<double>(terms[i]);
  }
#pragma unroll
  for (int i = 0; i < kMeanRows; ++i) {
    const double total = block_sum<kThreads>(sum[i]);
    if (threadIdx.x == 0 && first_row + i < tile.rows) mean[tile.row + first_row + i] += total;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    probability_gradient_kernel(ScoreTile tile, const float* x, ProbabilitySlopes slopes, const double* mean,
                                const double* inverse_temperature, T* gradient) {
  const std::int64_t column = std::int64_t{blockIdx.x} * kLanes + threadIdx.x;
  if (column >= tile.columns) return;
  const ColumnSlope slope(slopes, tile.column + column);
  const auto inverse = static_cast<float>(*inverse_temperature);
  for_rows(tile.rows, [&](std::int64_t row) {
    const std::int64_t place = row * tile.columns + column;
    const float value = x[place], middle = static_cast<float>(mean[tile.row + row]);
    const float of_row = slope.at(value, slopes.row_list + (tile.row + row) * slopes.lists.lists);
    gradient[place] = from_float<T>(inverse * value * (of_row - middle));
  });
}

/// One block has all columns.
__global__ void __launch_bounds__(kThreads)
    gaussian_distance_kernel(GaussianMoments moments, double* slope, double* value) {
  GaussianDistance distance(moments);
#pragma unroll 4
  for (std::int64_t m = threadIdx.x; m < moments.columns; m += kThreads) slope[m] = distance.add(m);
  distance.between = block_sum<kThreads>(distance.between);
  distance.of_mean = block_sum<kThreads>(distance.of_mean);
  distance.of_label_mean = block_sum<kThreads>(distance.of_label_mean);
  if (threadIdx.x == 0) *value = distance.value();
}

}  // namespace

void probabilities(std::int64_t rows, std::int64_t columns, const double* inverse_temperature,
                   const float* max, const double* sum, float* scores, cudaStream_t stream) {
  if (rows == 0 || columns == 0) return;
  launch<probabilities_kernel>(elementwise_grid(rows, columns), dim3(kLanes, kRowLanes), 0, stream, rows,
                               columns, inverse_temperature, max, sum, scores);
}

void add_probability_moments(std::int64_t rows, std::int64_t columns, const float* x, float center,
                             double* row_square, double* column_sum, cudaStream_t stream) {
  if (rows == 0 || columns == 0) return;
  launch<row_squares_kernel>(static_cast<unsigned>(rows), kThreads, 0, stream, columns, x, center,
                             row_square);
  launch<probability_column_sums_kernel>(parts_of(columns, kLanes), dim3(kLanes, kRowLanes), 0, stream, rows,
                                         columns, x, center, column_sum);
}

void add_list_sums(const ScoreTile& tile, const float* x, const ColumnLists& lists, double* sums,
                   cudaStream_t stream) {
  if (tile.rows == 0 || lists.lists == 0) return;
  launch<list_sums_kernel>(dim3(parts_of(lists.lists, kThreads), static_cast<unsigned>(tile.rows)), kThreads,
                           0, stream, tile, x, lists, sums);
}

void add_mean_slopes(const ScoreTile& tile, const float* x, const ProbabilitySlopes& slopes, double* mean,
                     cudaStream_t stream) {
  if (tile.rows == 0 || tile.columns == 0) return;
  launch<mean_slopes_kernel>(parts_of(tile.rows, kMeanRows), kThreads, 0, stream, tile, x, slopes, mean);
}

template <class T>
void probability_gradient(const ScoreTile& tile, const float* x, const ProbabilitySlopes& slopes,
                          const double* mean, const double* inverse_temperature, T* gradient,
                          cudaStream_t stream) {
  if (tile.rows == 0 || tile.columns == 0) return;
  launch<probability_gradient_kernel<T>>(elementwise_grid(tile.rows, tile.columns), dim3(kLanes, kRowLanes),
                                         0, stream, tile, x, slopes, mean, inverse_temperature, gradient);
}

void gaussian_distance(const GaussianMoments& moments, double* slope, double* value, cudaStream_t stream) {
  launch<gaussian_distance_kernel>(1, kThreads, 0, stream, moments, slope, value);
}

#define TOLLER_INSTANTIATE(T)                                                                     \
  template void probability_gradient<T>(const ScoreTile&, const float*, const ProbabilitySlopes&, \
                                        const double*, const double*, T*, cudaStream_t);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(bfloat16)
#undef TOLLER_INSTANTIATE

}  // namespace toller
