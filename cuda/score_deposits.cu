// Scores and a grid over them: norms, the grid's layout, deposits, and slopes read off the grid.
//
// Counted for n scores, w bytes a result:
//                  bytes      besides
//   deposit        4 n        6 n to 12 n 32-bit atomic additions to shared memory
//   read slopes    (4 + w) n  6 n floats of slopes, from the first-level cache
// Deposits are integers in units of 2^−fraction_bits: their sum is the same in every order, so that atomic
// additions are deterministic. Rounding takes at most 2^−(fraction_bits + 1) a weight. Shared memory adds 32
// bits at once in hardware, 64 bits only by trying again; so the halves are added one by one, the upper one
// where it is not 0: seldom, at up to 30 fraction bits. A block of 512 threads has the 6,144 points in the
// middle of the grid in 48 KiB of shared memory (unit vectors: all points from τ = 0.0106 on, and three
// quarters of them at τ = 0.005); what lies outside goes to the grid at once. Blocks are few and take many
// scores each, since each adds its points to the grid at the end.
#include "cuda/score_deposits.cuh"

#include "cuda/bfloat16.cuh"
#include "cuda/launch.cuh"
#include "cuda/mann_whitney.cuh"
#include "cuda/reduce.cuh"

namespace toller {
namespace {

constexpr int kThreads = 256;
constexpr int kNormRows = 8;  ///< rows of a block of largest_norm: a warp each
constexpr int kDepositThreads = 512;
constexpr std::int64_t kWindow = 6144;
constexpr std::int64_t kDepositBlocks = 528;
constexpr std::int64_t kDepositBlockScores = 16384;
constexpr int kSlopesAThread = 4;

unsigned blocks_for(std::int64_t n, std::int64_t size) {
  return static_cast<unsigned>((n + size - 1) / size);
}

/// Numbers from 0 to ∞ are ordered as their bits are.
template <class T>
__global__ void __launch_bounds__(32 * kNormRows)
    largest_norm_kernel(std::int64_t rows, std::int64_t columns, const T* x, unsigned long long* result) {
  const std::int64_t row = std::int64_t{blockIdx.x} * kNormRows + threadIdx.x / 32;
  if (row >= rows) return;
  double squares = 0;
  for (std::int64_t j = threadIdx.x % 32; j < columns; j += 32) {
    const auto value = static_cast<double>(to_float(x[row * columns + j]));
    squares += value * value;
  }
  squares = warp_sum(squares);
  if (threadIdx.x % 32 != 0) return;
  const double norm = squares >= 0 ? sqrt(squares) : static_cast<double>(INFINITY);  // NaN is not
  atomicMax(result, static_cast<unsigned long long>(__double_as_longlong(norm)));
}

__global__ void lay_grid_kernel(const double* norms, const double* inverse_temperature, std::int64_t capacity,
                                ScoreGrid* result) {
  ScoreGrid grid{static_cast<double>(NAN), *inverse_temperature, norms[0] * norms[1], 0, 0};
  const double largest = grid.largest_score * (1 + 1.0 / 1024), least = 16 * grid.inverse_temperature;
  if (largest <= 1e300 && least <= 1e300) {
    int exponent = 0;
    const bool power = frexp(least, &exponent) == 0.5;
    const double inverse_step = ldexp(1.0, power ? exponent - 1 : exponent);
    const double half = ceil(largest * inverse_step) + 3;
    grid.points = half < 1e18 ? 2 * static_cast<std::int64_t>(half) + 1 : std::int64_t{1} << 62;
    if (grid.points <= capacity) {
      grid.inverse_step = inverse_step;
      grid.origin = -static_cast<std::int64_t>(half);
    }
  }
  *result = grid;
}

/// The points of a block in shared memory: 64-bit sums in two halves.
struct Window {
  unsigned *low, *high;  ///< [kWindow]
  int first, size;

  __device__ __forceinline__ bool holds(int place) const {
    return place >= first && place + kGridWeights <= first + size;
  }
  /// A sum of the low halves that wraps around shows in what was there before: whatever the order, all
  /// carries arrive.
  __device__ __forceinline__ void add(int place, long long x) const {
    const auto x_low = static_cast<unsigned>(x);
    const unsigned before = atomicAdd(low + place - first, x_low);
    const unsigned x_high = static_cast<unsigned>(x >> 32) + (before + x_low < x_low ? 1u : 0u);
    if (x_high != 0) atomicAdd(high + place - first, x_high);
  }
};

__global__ void __launch_bounds__(kDepositThreads)
    deposit_kernel(std::int64_t n, const float* scores, const ScoreGrid* layout, float scale,
                   unsigned long long* weight) {
  const ScoreGrid whole = *layout;
  if (!is_laid(whole)) return;
  const FloatGrid grid(whole);
  Window window;
  window.low = dynamic_shared<unsigned>();
  window.high = window.low + kWindow;
  window.size = static_cast<int>(whole.points < kWindow ? whole.points : kWindow);
  window.first = static_cast<int>((whole.points - window.size) / 2);
  for (int j = static_cast<int>(threadIdx.x); j < window.size; j += kDepositThreads) {
    window.low[j] = window.high[j] = 0;
  }
  __syncthreads();
  const std::int64_t stride = std::int64_t{gridDim.x} * kDepositThreads;
  for (std::int64_t i = std::int64_t{blockIdx.x} * kDepositThreads + threadIdx.x; i < n; i += stride) {
    const float score = scores[i];
    if (score == -INFINITY) continue;
    float weights[kGridWeights];
    const int place = place_score(grid, score, weights);
    const bool inside = window.holds(place);
#pragma unroll
    for (int k = 0; k < kGridWeights; ++k) {
      const long long x = llrintf(weights[k] * scale);
      if (inside) {
        window.add(place + k, x);
      } else {
        atomicAdd(weight + place + k, static_cast<unsigned long long>(x));
      }
    }
  }
  __syncthreads();
  for (int j = static_cast<int>(threadIdx.x); j < window.size; j += kDepositThreads) {
    const unsigned long long sum = (static_cast<unsigned long long>(window.high[j]) << 32) | window.low[j];
    if (sum != 0) atomicAdd(weight + window.first + j, sum);
  }
}

__global__ void __launch_bounds__(kThreads)
    read_deposits_kernel(std::int64_t n, const std::int64_t* weight, double unit, double* result) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < n) result[i] = static_cast<double>(weight[i]) * unit;
}

template <class Result>
__device__ __forceinline__ void store_slope(float value, Result* to) {
  *to = from_float<Result>(value);
}
__device__ __forceinline__ void store_slope(float value, double* to) {
  *to = static_cast<double>(value);
}

template <class Result>
__global__ void __launch_bounds__(kThreads)
    read_slopes_kernel(std::int64_t n, const float* scores, const ScoreGrid* layout, const float* slope,
                       Result* result) {
  const ScoreGrid whole = *layout;
  const bool laid = is_laid(whole);
  const FloatGrid grid(whole);
  const std::int64_t first = std::int64_t{blockIdx.x} * (kThreads * kSlopesAThread) + threadIdx.x;
#pragma unroll
  for (int k = 0; k < kSlopesAThread; ++k) {
    const std::int64_t i = first + k * kThreads;
    if (i >= n) return;
    const float score = scores[i];
    float value = laid ? 0.0f : NAN;
    if (laid && score != -INFINITY) {
      float weights[kGridWeights];
      const float* from = slope + place_score(grid, score, weights);
#pragma unroll
      for (int j = 0; j < kGridWeights; ++j) value += weights[j] * from[j];
    }
    store_slope(value, result + i);
  }
}

}  // namespace

template <class T>
void largest_norm(std::int64_t rows, std::int64_t columns, const T* x, double* result, cudaStream_t stream) {
  check_cuda(cudaMemsetAsync(result, 0, sizeof(double), stream), "cudaMemsetAsync");
  if (rows == 0) return;
  launch<largest_norm_kernel<T>>(blocks_for(rows, kNormRows), 32 * kNormRows, 0, stream, rows, columns, x,
                                 reinterpret_cast<unsigned long long*>(result));
}

void lay_grid(const double* norms, const double* inverse_temperature, std::int64_t capacity, ScoreGrid* grid,
              cudaStream_t stream) {
  launch<lay_grid_kernel>(1, 1, 0, stream, norms, inverse_temperature, capacity, grid);
}

void deposit(std::int64_t n, const float* scores, const ScoreGrid* grid, int fraction_bits,
             std::int64_t* weight, cudaStream_t stream) {
  if (n == 0) return;
  const std::int64_t wanted = blocks_for(n, kDepositBlockScores);
  const auto blocks = static_cast<unsigned>(wanted < kDepositBlocks ? wanted : kDepositBlocks);
  launch<deposit_kernel>(blocks, kDepositThreads, 2 * kWindow * sizeof(unsigned), stream, n, scores, grid,
                         static_cast<float>(std::int64_t{1} << fraction_bits),
                         reinterpret_cast<unsigned long long*>(weight));
}

void read_deposits(std::int64_t n, const std::int64_t* weight, int fraction_bits, double* result,
                   cudaStream_t stream) {
  if (n == 0) return;
  launch<read_deposits_kernel>(blocks_for(n, kThreads), kThreads, 0, stream, n, weight,
                               1 / static_cast<double>(std::int64_t{1} << fraction_bits), result);
}

template <class Result>
void read_slopes(std::int64_t n, const float* scores, const ScoreGrid* grid, const float* slope,
                 Result* result, cudaStream_t stream) {
  if (n == 0) return;
  launch<read_slopes_kernel<Result>>(blocks_for(n, kThreads * kSlopesAThread), kThreads, 0, stream, n, scores,
                                     grid, slope, result);
}

template void largest_norm<float>(std::int64_t, std::int64_t, const float*, double*, cudaStream_t);
template void largest_norm<bfloat16>(std::int64_t, std::int64_t, const bfloat16*, double*, cudaStream_t);
#define TOLLER_INSTANTIATE(Result)                                                                       \
  template void read_slopes<Result>(std::int64_t, const float*, const ScoreGrid*, const float*, Result*, \
                                    cudaStream_t);
TOLLER_INSTANTIATE(double)
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(bfloat16)
#undef TOLLER_INSTANTIATE

}  // namespace toller
