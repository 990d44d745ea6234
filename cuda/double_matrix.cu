// Products: a block of 256 threads has 64 × 64 elements of c, a thread 4 × 4; 16 places of k at a time lie in
// shared memory, and the next ones are on their way to registers meanwhile. A place costs a block 4,096
// multiply-adds, 64 cycles of an H100's multiprocessor and 128 of an A100's (64 and 32 a cycle, without the
// tensor cores), and 48 cycles of shared memory: a warp's 2 accesses of 16 bytes a thread
// to its rows of a, which are the same for 16 threads, and 2 to its columns of b, 256 bytes each. Operations:
// 2 m n k, of aᵀ a half of them, since only the blocks on and right of the diagonal are made; bytes: 8 (m k
// ⌈n / 64⌉ + k n ⌈m / 64⌉ + m n), mostly from the second-level cache. Sums run over k in order, in one
// thread.
//
// The rest is bound by memory: 8 bytes an element, and 8 more where it is written.
#include "cuda/double_matrix.cuh"

#include "cuda/launch.cuh"
#include "cuda/reduce.cuh"

namespace toller {
namespace {

constexpr int kThreads = 256;
constexpr int kTile = 64, kDepth = 16, kPart = 4;
constexpr int kTileThreads = kTile / kPart;        ///< 16 × 16 threads
constexpr int kLoads = kTile * kDepth / kThreads;  ///< of a thread, for each factor
constexpr int kLanes = 32, kRowLanes = kThreads / kLanes;

/// Blocks of an inner product at most; the number does not depend on the device.
constexpr std::int64_t kProductBlocks = 1024, kBlockElements = 4096;

unsigned parts_of(std::int64_t n, std::int64_t size) {
  return static_cast<unsigned>((n + size - 1) / size);
}

std::int64_t product_blocks(std::int64_t n) {
  const std::int64_t blocks = (n + kBlockElements - 1) / kBlockElements;
  return blocks < kProductBlocks ? blocks : kProductBlocks;
}

__device__ __forceinline__ std::int64_t thread_number() {
  return std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
}

/// Moved in one access.
struct alignas(16) Pair {
  double values[2];
};

/// Pairs of a line of kTile numbers in shared memory; one more, so that lines begin in different banks.
constexpr int kLinePairs = kTile / 2 + 1;

/// Where a thread's elements of a factor's kDepth × kTile part come from: neighbouring threads take
/// neighbouring places of memory. Lines are rows of op(a), or columns of b.
template <bool kLineByLine>
struct FactorPart {
  __device__ __forceinline__ static int line(int i) {
    const int number = i * kThreads + static_cast<int>(threadIdx.x);
    return kLineByLine ? number / kDepth : number % kTile;
  }
  __device__ __forceinline__ static int depth(int i) {
    const int number = i * kThreads + static_cast<int>(threadIdx.x);
    return kLineByLine ? number % kDepth : number / kTile;
  }
  /// x = places [at, at + kDepth) of lines [first, first + kTile); 0 beyond the end.
  __device__ __forceinline__ static void load(std::int64_t lines, std::int64_t k, std::int64_t first,
                                              std::int64_t at, const double* from, double (&x)[kLoads]) {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const std::int64_t l = first + line(i), p = at + depth(i);
      x[i] = l < lines && p < k ? from[kLineByLine ? l * k + p : p * lines + l] : 0;
    }
  }
  __device__ __forceinline__ static void store(const double (&x)[kLoads], Pair (&to)[kDepth][kLinePairs]) {
#pragma unroll
    for (int i = 0; i < kLoads; ++i) to[depth(i)][line(i) / 2].values[line(i) % 2] = x[i];
  }
};

/// Place i of a thread's four among the 64 of its block: two pairs, so that neighbouring threads have
/// neighbouring pairs.
__device__ __forceinline__ int place_of(int thread, int i) {
  return i / 2 * (kTile / 2) + thread * 2 + i % 2;
}

/// x = the thread's four numbers of a line of a part.
__device__ __forceinline__ void load_four(const Pair (&line)[kLinePairs], int thread, double (&x)[kPart]) {
#pragma unroll
  for (int i = 0; i < kPart; i += 2) {
    const Pair pair = line[place_of(thread, i) / 2];
    x[i] = pair.values[0];
    x[i + 1] = pair.values[1];
  }
}

/// c [m, n] = factor · op(a) b over k places. kGram: a is b [k, n], transposed, and blocks left of the
/// diagonal leave their work to those right of it.
template <bool kGram>
__global__ void __launch_bounds__(kThreads, 2)
    multiply_kernel(std::int64_t m, std::int64_t n, std::int64_t k, double factor, const double* a,
                    const double* b, double* c) {
  using PartA = FactorPart<!kGram>;
  using PartB = FactorPart<false>;
  __shared__ Pair shared_a[kDepth][kLinePairs];
  __shared__ Pair shared_b[kDepth][kLinePairs];
  const std::int64_t first_row = std::int64_t{blockIdx.y} * kTile;
  const std::int64_t first_column = std::int64_t{blockIdx.x} * kTile;
  if (kGram && first_column < first_row) return;
  const int row = static_cast<int>(threadIdx.x) / kTileThreads;
  const int column = static_cast<int>(threadIdx.x) % kTileThreads;
  double sum[kPart][kPart] = {}, next_a[kLoads], next_b[kLoads];
  PartA::load(m, k, first_row, 0, a, next_a);
  PartB::load(n, k, first_column, 0, b, next_b);
  for (std::int64_t at = 0; at < k; at += kDepth) {
    __syncthreads();  // the part before this one has been read
    PartA::store(next_a, shared_a);
    PartB::store(next_b, shared_b);
    __syncthreads();
    if (at + kDepth < k) {
      PartA::load(m, k, first_row, at + kDepth, a, next_a);
      PartB::load(n, k, first_column, at + kDepth, b, next_b);
    }
#pragma unroll
    for (int p = 0; p < kDepth; ++p) {
      double x[kPart], y[kPart];
      load_four(shared_a[p], row, x);
      load_four(shared_b[p], column, y);
#pragma unroll
      for (int i = 0; i < kPart; ++i) {
#pragma unroll
        for (int j = 0; j < kPart; ++j) sum[i][j] += x[i] * y[j];
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kPart; ++i) {
#pragma unroll
    for (int j = 0; j < kPart; ++j) {
      const std::int64_t to_row = first_row + place_of(row, i);
      const std::int64_t to_column = first_column + place_of(column, j);
      if (to_row >= m || to_column >= n) continue;
      c[to_row * n + to_column] = factor * sum[i][j];
      if (kGram && first_column > first_row) c[to_column * n + to_row] = factor * sum[i][j];
    }
  }
}

__global__ void __launch_bounds__(kThreads) add_to_diagonal_kernel(std::int64_t n, double value, double* x) {
  if (thread_number() < n) x[thread_number() * (n + 1)] += value;
}

/// The block has a row.
__global__ void __launch_bounds__(kThreads) center_rows_kernel(std::int64_t n, double* x) {
  double* row = x + std::int64_t{blockIdx.x} * n;
  double sum = 0;
#pragma unroll 4
  for (std::int64_t j = threadIdx.x; j < n; j += kThreads) sum += row[j];
  const double mean = block_sum<kThreads>(sum) / static_cast<double>(n);
#pragma unroll 4
  for (std::int64_t j = threadIdx.x; j < n; j += kThreads) row[j] -= mean;
}

/// The block has 32 columns.
__global__ void __launch_bounds__(kThreads)
    double_column_sums_kernel(std::int64_t rows, std::int64_t n, const double* x, double* sums) {
  __shared__ double parts[kRowLanes][kLanes];
  const std::int64_t column = std::int64_t{blockIdx.x} * kLanes + threadIdx.x;
  double sum = 0;
  if (column < n) {
#pragma unroll 8
    for (std::int64_t row = threadIdx.y; row < rows; row += kRowLanes) sum += x[row * n + column];
  }
  parts[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= n) return;
#pragma unroll
  for (int k = 1; k < kRowLanes; ++k) sum += parts[k][threadIdx.x];
  sums[column] = sum;
}

__global__ void __launch_bounds__(kThreads)
    add_to_rows_kernel(std::int64_t size, std::int64_t n, double factor, const double* row, double* x) {
  const std::int64_t i = thread_number();
  if (i < size) x[i] += factor * row[i % n];
}

__global__ void __launch_bounds__(kThreads)
    divide_by_norm_kernel(std::int64_t n, const double* squared_norm, double* x) {
  const double factor = *squared_norm == 0 ? 0 : 1 / sqrt(*squared_norm);
  const std::int64_t i = thread_number();
  if (i < n) x[i] *= factor;
}

__global__ void __launch_bounds__(kThreads)
    inner_product_kernel(std::int64_t n, const double* a, const double* b, double* partial) {
  double sum = 0;
#pragma unroll 4
  for (std::int64_t i = thread_number(); i < n; i += std::int64_t{gridDim.x} * kThreads) {
    sum += b == nullptr ? a[i] : a[i] * b[i];
  }
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) add_up_kernel(int n, const double* x, double* result) {
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < n; i += kThreads) sum += x[i];
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) *result = sum;
}

}  // namespace

void multiply_doubles(std::int64_t rows, std::int64_t n, const double* a, const double* b, double* c,
                      cudaStream_t stream) {
  if (rows == 0 || n == 0) return;
  launch<multiply_kernel<false>>(dim3(parts_of(n, kTile), parts_of(rows, kTile)), kThreads, 0, stream, rows,
                                 n, n, 1.0, a, b, c);
}

void gram_doubles(std::int64_t rows, std::int64_t n, double factor, const double* a, double* c,
                  cudaStream_t stream) {
  if (n == 0) return;
  launch<multiply_kernel<true>>(dim3(parts_of(n, kTile), parts_of(n, kTile)), kThreads, 0, stream, n, n, rows,
                                factor, a, a, c);
}

void add_to_diagonal(std::int64_t n, double value, double* x, cudaStream_t stream) {
  if (n == 0) return;
  launch<add_to_diagonal_kernel>(parts_of(n, kThreads), kThreads, 0, stream, n, value, x);
}

void center_rows(std::int64_t rows, std::int64_t n, double* x, cudaStream_t stream) {
  if (rows == 0) return;
  launch<center_rows_kernel>(static_cast<unsigned>(rows), kThreads, 0, stream, n, x);
}

void double_column_sums(std::int64_t rows, std::int64_t n, const double* x, double* sums,
                        cudaStream_t stream) {
  if (n == 0) return;
  launch<double_column_sums_kernel>(parts_of(n, kLanes), dim3(kLanes, kRowLanes), 0, stream, rows, n, x,
                                    sums);
}

void add_to_rows(std::int64_t rows, std::int64_t n, double factor, const double* row, double* x,
                 cudaStream_t stream) {
  if (rows == 0 || n == 0) return;
  launch<add_to_rows_kernel>(parts_of(rows * n, kThreads), kThreads, 0, stream, rows * n, n, factor, row, x);
}

void divide_by_norm(std::int64_t n, const double* squared_norm, double* x, cudaStream_t stream) {
  if (n == 0) return;
  launch<divide_by_norm_kernel>(parts_of(n, kThreads), kThreads, 0, stream, n, squared_norm, x);
}

std::int64_t inner_product_workspace(std::int64_t n) {
  return product_blocks(n);
}

void inner_product(std::int64_t n, const double* a, const double* b, double* result, double* workspace,
                   cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(product_blocks(n));
  if (blocks > 0) launch<inner_product_kernel>(blocks, kThreads, 0, stream, n, a, b, workspace);
  launch<add_up_kernel>(1, kThreads, 0, stream, static_cast<int>(blocks), workspace, result);
}

}  // namespace toller
