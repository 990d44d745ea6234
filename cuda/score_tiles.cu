// Tiles of scores s [rows, columns], float. With k = inverse_temperature, a line's statistics are
//   max = max s,  sum = Σ e^{(s − max) k};   the gradient is  e^{(s − shift) k + offset}, rounded to T,
// once by the row's shift and offset and, where the loss is symmetric, once more by the column's.
// Exponentials are powers of two of k log₂ e times a difference of scores.
//
// Counted for a tile of n scores, w = sizeof(T); besides 20 bytes a line:
//                       bytes        exponentials
//   row statistics      4 n          n
//   column statistics   4 n          1.16 n
//   gradient            (4 + w) n    n, symmetric 2 n
// Running sums of columns are rescaled every 8 rows and at the end. An H100's 132 multiprocessors have 16
// exponentials a cycle each, 3.7 · 10¹² a second; its memory gives 0.8 · 10¹² floats a second, its
// second-level cache not twice as many. So bytes are the limit, by 3 to 4 times from memory, and a tile
// should lie in the cache: 1,024 × 8,192 scores are 32 MiB of an H100's 50 MB. Every score is read once, in
// vectors of 16 bytes where the columns and the addresses allow it, and kept in registers between the maximum
// and the exponentials.
//
// Row statistics: a block of 256 threads has up to 8,192 columns of a row, 32 a thread. So the usual tile
// needs one kernel, whose blocks merge their row into the statistics: 2,048 rows are 15 blocks for each of
// 132 multiprocessors, and 256 rows two with 64 KiB of loads in flight on each, which still hides the
// latency. Longer rows go as parts of 8,192 columns, merged in order by a second kernel.
//
// Column statistics: a block has 128 columns (32 where vectors are not allowed) and 256 rows. 8,192 columns
// of 2,048 rows are 512 blocks, whose 8 parts a column are merged by the second kernel; at up to 256 rows a
// block merges its columns itself.
//
// Sums: up to 32 terms of a thread in float (a column's rescaled as the maximum rises), everything beyond in
// double.
#include "cuda/score_tiles.cuh"

#include "cuda/bfloat16.cuh"
#include "cuda/launch.cuh"
#include "cuda/reduce.cuh"

namespace toller {
namespace {

constexpr int kThreads = 256;
constexpr double kLog2E = 1.4426950408889634074;

/// Columns of a row that a block has.
constexpr int kThreadColumns = 32;
constexpr int kPartColumns = kThreads * kThreadColumns;

/// Where scores go by columns: 32 threads side by side, V columns each, and eight rows of threads, each of
/// which takes every eighth row, kBatchRows of them at a time.
constexpr int kLanes = 32, kRowLanes = kThreads / kLanes;
constexpr int kBatchRows = 8;
constexpr int kBlockRows = kRowLanes * kBatchRows;
/// Rows of a column that a block has.
constexpr int kPartRows = 256;

std::int64_t parts_of(std::int64_t n, std::int64_t size) {
  return (n + size - 1) / size;
}

/// The maximum as a shift: an empty line is shifted by 0, since −∞ − (−∞) would be NaN.
__device__ __forceinline__ float finite_shift(float max) {
  return max == -INFINITY ? 0.0f : max;
}

__device__ __forceinline__ float base2_scale(const double* inverse_temperature) {
  return static_cast<float>(*inverse_temperature * kLog2E);
}

/// Merges a part into a line's statistics. NaN stays NaN.
__device__ __forceinline__ void merge(float part_max, double part_sum, double inverse_temperature, float& max,
                                      double& sum) {
  const bool rises = part_max > max;
  const float higher = rises ? part_max : max, lower = rises ? max : part_max;
  const double difference = static_cast<double>(lower) - static_cast<double>(higher);
  const double factor = lower == higher ? 1.0 : exp(difference * inverse_temperature);
  sum = rises ? sum * factor + part_sum : sum + part_sum * factor;
  max = higher;
}

/// Where a block's statistics of a line go: to the workspace, or, where the block had the whole line, into
/// the line's statistics.
struct LineOutput {
  std::int64_t lines;
  std::int64_t parts;  ///< blocks a line
  LinePart* part;      ///< [parts, lines], where there are several
  float* max;
  double* sum;

  __device__ __forceinline__ void write(std::int64_t number, std::int64_t line, float part_max,
                                        double part_sum, const double* inverse_temperature) const {
    if (parts > 1) {
      part[number * lines + line] = {part_sum, part_max};
    } else {
      merge(part_max, part_sum, *inverse_temperature, max[line], sum[line]);
    }
  }
};

__global__ void __launch_bounds__(kThreads)
    merge_parts_kernel(LineOutput lines, const double* inverse_temperature) {
  const std::int64_t line = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (line >= lines.lines) return;
  float max = lines.max[line];
  double sum = lines.sum[line];
#pragma unroll 4
  for (std::int64_t i = 0; i < lines.parts; ++i) {
    const LinePart part = lines.part[i * lines.lines + line];
    merge(part.max, part.sum, *inverse_temperature, max, sum);
  }
  lines.max[line] = max;
  lines.sum[line] = sum;
}

template <int V>
__global__ void __launch_bounds__(kThreads)
    row_statistics_kernel(std::int64_t columns, const float* scores, const double* inverse_temperature,
                          LineOutput output) {
  constexpr int kVectors = kThreadColumns / V;
  const std::int64_t row = blockIdx.x, begin = std::int64_t{blockIdx.y} * kPartColumns;
  const float* from = scores + row * columns + begin;
  const int width = columns - begin < kPartColumns ? static_cast<int>(columns - begin) : kPartColumns;
  const auto column = [](int k) { return (k * kThreads + static_cast<int>(threadIdx.x)) * V; };
  float x[kVectors][V];
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    if (column(k) < width) load(from + column(k), x[k]);
  }
  float highest = -INFINITY;
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    if (column(k) >= width) continue;
#pragma unroll
    for (int i = 0; i < V; ++i) highest = fmaxf(highest, x[k][i]);
  }
  highest = block_max<kThreads>(highest);
  const float shift = finite_shift(highest), scale = base2_scale(inverse_temperature);
  float terms = 0;
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    if (column(k) >= width) continue;
#pragma unroll
    for (int i = 0; i < V; ++i) terms += exp2f((x[k][i] - shift) * scale);
  }
  const double sum = block_sum<kThreads>(static_cast<double>(terms));
  if (threadIdx.x == 0) output.write(blockIdx.y, row, highest, sum, inverse_temperature);
}

/// x = kBatchRows rows of V scores from `row` on, every kRowLanes-th row; −∞ past the end.
template <int V>
__device__ __forceinline__ void load_batch(std::int64_t row, std::int64_t end, std::int64_t columns,
                                           const float* from, float (&x)[kBatchRows][V]) {
#pragma unroll
  for (int k = 0; k < kBatchRows; ++k) {
    const std::int64_t at = row + k * kRowLanes;
    if (at < end) {
      load(from + at * columns, x[k]);
    } else {
#pragma unroll
      for (int i = 0; i < V; ++i) x[k][i] = -INFINITY;
    }
  }
}

/// Adds a batch to a thread's running maxima and to its sums, which are relative to them.
template <int V>
__device__ __forceinline__ void add_batch(const float (&x)[kBatchRows][V], float scale, float (&highest)[V],
                                          float (&terms)[V]) {
#pragma unroll
  for (int i = 0; i < V; ++i) {
    float higher = highest[i];
#pragma unroll
    for (int k = 0; k < kBatchRows; ++k) higher = fmaxf(higher, x[k][i]);
    const float shift = finite_shift(higher);
    terms[i] *= exp2f((highest[i] - shift) * scale);
#pragma unroll
    for (int k = 0; k < kBatchRows; ++k) terms[i] += exp2f((x[k][i] - shift) * scale);
    highest[i] = higher;
  }
}

template <int V>
__global__ void __launch_bounds__(kThreads)
    column_statistics_kernel(std::int64_t rows, std::int64_t columns, const float* scores,
                             const double* inverse_temperature, LineOutput output) {
  __shared__ float max_of[kRowLanes][kLanes * V], sum_of[kRowLanes][kLanes * V];
  const std::int64_t block_column = std::int64_t{blockIdx.x} * kLanes * V;
  const std::int64_t begin = std::int64_t{blockIdx.y} * kPartRows;
  const std::int64_t end = rows - begin < kPartRows ? rows : begin + kPartRows;
  const int lane_column = static_cast<int>(threadIdx.x) * V;
  const float scale = base2_scale(inverse_temperature);
  float highest[V], terms[V] = {};
#pragma unroll
  for (int i = 0; i < V; ++i) highest[i] = -INFINITY;
  if (block_column + lane_column < columns) {
    for (std::int64_t row = begin + threadIdx.y; row < end; row += kBlockRows) {
      float x[kBatchRows][V];
      load_batch(row, end, columns, scores + block_column + lane_column, x);
      add_batch(x, scale, highest, terms);
    }
  }
#pragma unroll
  for (int i = 0; i < V; ++i) {
    max_of[threadIdx.y][lane_column + i] = highest[i];
    sum_of[threadIdx.y][lane_column + i] = terms[i];
  }
  __syncthreads();
  const int column = static_cast<int>(threadIdx.y) * kLanes + static_cast<int>(threadIdx.x);
  if (column >= kLanes * V || block_column + column >= columns) return;
  float max = -INFINITY;
  double sum = 0;
#pragma unroll
  for (int k = 0; k < kRowLanes; ++k) max = fmaxf(max, max_of[k][column]);
#pragma unroll
  for (int k = 0; k < kRowLanes; ++k) {
    const float factor = exp2f((max_of[k][column] - finite_shift(max)) * scale);
    sum += static_cast<double>(sum_of[k][column]) * static_cast<double>(factor);
  }
  output.write(blockIdx.y, block_column + column, max, sum, inverse_temperature);
}

template <class T, int V, bool kRowLines, bool kColumnLines>
__global__ void __launch_bounds__(kThreads)
    softmax_gradient_kernel(std::int64_t rows, std::int64_t columns, const float* scores,
                            const double* inverse_temperature, SoftmaxLines<float> row_lines,
                            SoftmaxLines<float> column_lines, T* gradient) {
  const std::int64_t vector = std::int64_t{blockIdx.x} * kLanes + threadIdx.x, vectors = columns / V;
  const std::int64_t first_row = std::int64_t{blockIdx.y} * kBlockRows + threadIdx.y;
  if (vector >= vectors) return;
  constexpr auto kBase2 = static_cast<float>(kLog2E);
  const float scale = base2_scale(inverse_temperature);
  float column_shift[V], column_offset[V];
  if constexpr (kColumnLines) {
    load(column_lines.shift + vector * V, column_shift);
    load(column_lines.offset + vector * V, column_offset);
  }
  float x[kBatchRows][V];
  load_batch(first_row, rows, columns, scores + vector * V, x);
#pragma unroll
  for (int k = 0; k < kBatchRows; ++k) {
    const std::int64_t row = first_row + k * kRowLanes;
    if (row >= rows) continue;
    float part[V] = {};
    if constexpr (kRowLines) {
      const float shift = row_lines.shift[row], offset = row_lines.offset[row] * kBase2;
#pragma unroll
      for (int i = 0; i < V; ++i) part[i] = exp2f((x[k][i] - shift) * scale + offset);
    }
    if constexpr (kColumnLines) {
#pragma unroll
      for (int i = 0; i < V; ++i) {
        part[i] += exp2f((x[k][i] - column_shift[i]) * scale + column_offset[i] * kBase2);
      }
    }
    // Counted in vectors: of a place that is a row's elements plus a column's, nvcc 13.0 does not see the
    // alignment, and it stores every element by itself.
    store(gradient + (row * vectors + vector) * V, part);
  }
}

/// Blocks for scores by columns, V a thread, and `block_rows` rows a block.
template <int V>
dim3 column_grid(std::int64_t rows, std::int64_t columns, std::int64_t block_rows) {
  return dim3(static_cast<unsigned>(parts_of(columns, kLanes * V)),
              static_cast<unsigned>(parts_of(rows, block_rows)));
}

bool aligned(const void* pointer, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0;
}

constexpr int kScoreVector = kVector<float>;

bool vector_scores(std::int64_t columns, const float* scores) {
  return columns % kScoreVector == 0 && aligned(scores, 16);
}

/// The second kernel, where lines came in parts.
void merge_parts(const LineOutput& output, const double* inverse_temperature, cudaStream_t stream) {
  if (output.parts == 1) return;
  launch<merge_parts_kernel>(static_cast<unsigned>(parts_of(output.lines, kThreads)), kThreads, 0, stream,
                             output, inverse_temperature);
}

}  // namespace

std::int64_t row_statistics_workspace(std::int64_t rows, std::int64_t columns) {
  return columns <= kPartColumns ? 0 : parts_of(columns, kPartColumns) * rows;
}

std::int64_t column_statistics_workspace(std::int64_t rows, std::int64_t columns) {
  return rows <= kPartRows ? 0 : parts_of(rows, kPartRows) * columns;
}

void add_row_statistics(std::int64_t rows, std::int64_t columns, const float* scores,
                        const double* inverse_temperature, float* max, double* sum, LinePart* workspace,
                        cudaStream_t stream) {
  if (rows == 0 || columns == 0) return;
  const std::int64_t parts = parts_of(columns, kPartColumns);
  const LineOutput output{rows, parts, workspace, max, sum};
  const dim3 grid(static_cast<unsigned>(rows), static_cast<unsigned>(parts));
  if (vector_scores(columns, scores)) {
    launch<row_statistics_kernel<kScoreVector>>(grid, kThreads, 0, stream, columns, scores,
                                                inverse_temperature, output);
  } else {
    launch<row_statistics_kernel<1>>(grid, kThreads, 0, stream, columns, scores, inverse_temperature, output);
  }
  merge_parts(output, inverse_temperature, stream);
}

void add_column_statistics(std::int64_t rows, std::int64_t columns, const float* scores,
                           const double* inverse_temperature, float* max, double* sum, LinePart* workspace,
                           cudaStream_t stream) {
  if (rows == 0 || columns == 0) return;
  const std::int64_t parts = parts_of(rows, kPartRows);
  const LineOutput output{columns, parts, workspace, max, sum};
  const dim3 block(kLanes, kRowLanes);
  if (vector_scores(columns, scores)) {
    launch<column_statistics_kernel<kScoreVector>>(column_grid<kScoreVector>(rows, columns, kPartRows), block,
                                                   0, stream, rows, columns, scores, inverse_temperature,
                                                   output);
  } else {
    launch<column_statistics_kernel<1>>(column_grid<1>(rows, columns, kPartRows), block, 0, stream, rows,
                                        columns, scores, inverse_temperature, output);
  }
  merge_parts(output, inverse_temperature, stream);
}

template <class T>
void softmax_gradient(std::int64_t rows, std::int64_t columns, const float* scores,
                      const double* inverse_temperature, SoftmaxLines<float> row_lines,
                      SoftmaxLines<float> column_lines, T* gradient, cudaStream_t stream) {
  if (rows == 0 || columns == 0) return;
  const bool vectors = vector_scores(columns, scores) && aligned(column_lines.shift, 16) &&
                       aligned(column_lines.offset, 16) && aligned(gradient, kScoreVector * sizeof(T));
  const auto run = [&]<int V, bool kRowLines, bool kColumnLines>() {
    launch<softmax_gradient_kernel<T, V, kRowLines, kColumnLines>>(
        column_grid<V>(rows, columns, kBlockRows), dim3(kLanes, kRowLanes), 0, stream, rows, columns, scores,
        inverse_temperature, row_lines, column_lines, gradient);
  };
  const auto choose_vector = [&]<bool kRowLines, bool kColumnLines>() {
    vectors ? run.template operator()<kScoreVector, kRowLines, kColumnLines>()
            : run.template operator()<1, kRowLines, kColumnLines>();
  };
  const auto choose_columns = [&]<bool kRowLines>() {
    column_lines.shift != nullptr ? choose_vector.template operator()<kRowLines, true>()
                                  : choose_vector.template operator()<kRowLines, false>();
  };
  row_lines.shift != nullptr ? choose_columns.template operator()<true>()
                             : choose_columns.template operator()<false>();
}

#define TOLLER_INSTANTIATE(T)                                                                \
  template void softmax_gradient<T>(std::int64_t, std::int64_t, const float*, const double*, \
                                    SoftmaxLines<float>, SoftmaxLines<float>, T*, cudaStream_t);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(bfloat16)
#undef TOLLER_INSTANTIATE

}  // namespace toller
