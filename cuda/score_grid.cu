// Convolutions of deposits on a grid: what src/device/cpu/score_grid.cpp says, in double. Points i and j, a
// distance q apart in z:
//   near (chunks of 128 points up to kNear away): Σ_j c_j K((j − i) q), K = softplus, σ, z σ, from a table;
//   far to the right: Σ c_j (j − i) q, Σ c_j;  far to the left: Σ c_j e^{(j − i) q}, Σ c_j (j − i) q e^{(j −
//   i) q}.
// Two directions: the negatives as sources, read at the positives; and, in the mirror image (point j ↔ points
// − 1 − j), the positives as sources, read at the negatives.
//
// A block of 128 threads has a chunk of outputs, and goes through the 17 chunks near it: 2,176 points, three
// multiplications and additions in double for each in the first direction, one in the second. 8,192 points (τ
// = 0.005, unit vectors) are 7 · 10⁷ of them, some microseconds of a data centre GPU's time; chunks without
// deposits are left out.
#include <cstdint>

#include "cuda/launch.cuh"
#include "cuda/mann_whitney.cuh"
#include "cuda/reduce.cuh"
#include "cuda/score_deposits.cuh"

namespace toller {
namespace {

constexpr int kChunk = 128, kNear = 8;
constexpr int kReach = (kNear + 1) * kChunk;
constexpr int kTable = 2 * kReach + 1;

/// What the chunks to the right of a chunk, or to the left of it, add up to; or one chunk itself.
struct ChunkSums {
  double right_count, right_place;  ///< Σ c_j, Σ j c_j
  double left, left_place;          ///< Σ c_j e^{(j − end) q}, Σ c_j (j − end) e^{(j − end) q}
  double filled;                    ///< not 0 where a point of the chunk itself has a deposit
};

/// Deposits as one direction sees them.
struct Side {
  const double* deposit;
  bool mirrored;
};
enum SideNumber { kNegativeSources, kPositiveReaders, kPositiveSources, kNegativeReaders, kSides };

/// What all kernels here take. Workspace: sums and far sums [kSides, chunks], the table, partial results.
struct Convolution {
  GridPairs<float> pairs;
  const ScoreGrid* grid;
  std::int64_t most_chunks;
  ChunkSums *own, *far;
  double *softplus, *sigmoid, *moment;  ///< [kTable]
  double *values, *moments;             ///< [chunks]

  __device__ __forceinline__ Side side(int number) const {
    const bool positive = number == kPositiveReaders || number == kPositiveSources;
    return {positive ? pairs.positive : pairs.negative, number >= kPositiveSources};
  }
  __device__ __forceinline__ bool laid() const { return is_laid(*grid); }
  __device__ __forceinline__ std::int64_t chunks() const { return (grid->points + kChunk - 1) / kChunk; }
  __device__ __forceinline__ double q() const { return grid->inverse_temperature / grid->inverse_step; }
  /// 1 / (positives · negatives).
  __device__ __forceinline__ double share() const {
    const double count = pairs.count[0] * pairs.count[1];
    return count > 0 ? 1 / count : 0.0;
  }
};

__device__ __forceinline__ double deposit_at(const Side& side, std::int64_t points, std::int64_t j) {
  return j < points ? side.deposit[side.mirrored ? points - 1 - j : j] : 0.0;
}

__global__ void __launch_bounds__(kChunk) table_kernel(Convolution c) {
  const int at = static_cast<int>(blockIdx.x * kChunk + threadIdx.x);
  if (!c.laid() || at >= kTable) return;
  const double z = static_cast<double>(kReach - at) * c.q(), e = exp(-fabs(z));
  const double sigmoid = (z > 0 ? 1.0 : e) / (1 + e);
  c.softplus[at] = (z > 0 ? z : 0.0) + log1p(e);
  c.sigmoid[at] = sigmoid;
  c.moment[at] = z * sigmoid;
}

__global__ void __launch_bounds__(kChunk) chunk_sums_kernel(Convolution c) {
  if (!c.laid()) return;
  const std::int64_t chunk = blockIdx.x, j = chunk * kChunk + threadIdx.x;
  if (chunk >= c.chunks()) return;
  const double x = deposit_at(c.side(static_cast<int>(blockIdx.y)), c.grid->points, j);
  const double before_end = static_cast<double>(static_cast<int>(threadIdx.x) - kChunk);
  const double e = x * exp(before_end * c.q());
  ChunkSums sums;
  sums.right_count = block_sum<kChunk>(x);
  sums.right_place = block_sum<kChunk>(x * static_cast<double>(j));
  sums.left = block_sum<kChunk>(e);
  sums.left_place = block_sum<kChunk>(e * before_end);
  sums.filled = block_sum<kChunk>(x != 0 ? 1.0 : 0.0);
  if (threadIdx.x == 0) c.own[blockIdx.y * c.most_chunks + chunk] = sums;
}

/// A thread for the sums from the left, one for those from the right, for each of the sides that are sources.
__global__ void far_sums_kernel(Convolution c) {
  if (!c.laid()) return;
  const std::int64_t first = (blockIdx.y == 0 ? kNegativeSources : kPositiveSources) * c.most_chunks;
  const ChunkSums* own = c.own + first;
  ChunkSums* far = c.far + first;
  const std::int64_t chunks = c.chunks();
  const double width = kChunk, decay = exp(-width * c.q());
  double sum = 0, place = 0;
  if (blockIdx.x == 0) {
    for (std::int64_t i = 0; i < chunks; ++i) {
      const std::int64_t source = i - kNear - 1;
      if (source >= 0) {
        place = own[source].left_place + decay * (place - width * sum);
        sum = own[source].left + decay * sum;
      }
      far[i].left = sum;
      far[i].left_place = place;
    }
    return;
  }
  for (std::int64_t i = chunks - 1; i >= 0; --i) {
    const std::int64_t source = i + kNear + 1;
    if (source < chunks) {
      sum += own[source].right_count;
      place += own[source].right_place;
    }
    far[i].right_count = sum;
    far[i].right_place = place;
  }
}

/// The sums of a thread's point.
struct PointSums {
  double softplus = 0, sigmoid = 0, moment = 0;
};

__device__ __forceinline__ PointSums far_part(const ChunkSums& far, std::int64_t chunk, double q) {
  const int i = static_cast<int>(threadIdx.x);
  const double place = static_cast<double>(chunk * kChunk + i);
  const double distance = static_cast<double>(kNear * kChunk + i), e = exp(-distance * q);
  const double right = q * (far.right_place - place * far.right_count);
  PointSums sums;
  sums.softplus = right + far.left * e;
  sums.sigmoid = far.right_count + far.left * e;
  sums.moment = right + q * (far.left_place - distance * far.left) * e;
  return sums;
}

/// All: softplus and moment too.
template <bool All>
__device__ __forceinline__ void add_near_part(const Convolution& c, int sources, std::int64_t chunk,
                                              PointSums& sums) {
  __shared__ double deposits[kChunk], table[All ? 3 : 1][2 * kChunk];
  const Side side = c.side(sources);
  const int i = static_cast<int>(threadIdx.x);
  const std::int64_t first = chunk < kNear ? 0 : chunk - kNear;
  const std::int64_t last = chunk + kNear < c.chunks() ? chunk + kNear : c.chunks() - 1;
  for (std::int64_t source = first; source <= last; ++source) {
    if (c.own[sources * c.most_chunks + source].filled == 0) continue;
    __syncthreads();  // what was there before has been read
    deposits[i] = deposit_at(side, c.grid->points, source * kChunk + i);
    // Output i and source j take place i − j + kChunk of these.
    const int begin = kReach + static_cast<int>(chunk - source) * kChunk - kChunk;
    for (int k = i; k < 2 * kChunk; k += kChunk) {
      table[0][k] = c.sigmoid[begin + k];
      if constexpr (All) {
        table[1][k] = c.softplus[begin + k];
        table[2][k] = c.moment[begin + k];
      }
    }
    __syncthreads();
#pragma unroll 8
    for (int j = 0; j < kChunk; ++j) {
      const double x = deposits[j];
      sums.sigmoid += x * table[0][i - j + kChunk];
      if constexpr (All) {
        sums.softplus += x * table[1][i - j + kChunk];
        sums.moment += x * table[2][i - j + kChunk];
      }
    }
  }
}

/// Slopes at the positives, and value and moment of the chunk.
__global__ void __launch_bounds__(kChunk) positive_kernel(Convolution c) {
  if (!c.laid()) return;
  const std::int64_t chunk = blockIdx.x, i = chunk * kChunk + threadIdx.x;
  if (chunk >= c.chunks()) return;
  const bool filled = c.own[kPositiveReaders * c.most_chunks + chunk].filled != 0;
  PointSums sums;
  if (filled) {
    sums = far_part(c.far[kNegativeSources * c.most_chunks + chunk], chunk, c.q());
    add_near_part<true>(c, kNegativeSources, chunk, sums);
  }
  const double x = deposit_at(c.side(kPositiveReaders), c.grid->points, i);
  const double value = block_sum<kChunk>(x * sums.softplus), moment = block_sum<kChunk>(x * sums.moment);
  if (threadIdx.x == 0) {
    c.values[chunk] = value;
    c.moments[chunk] = moment;
  }
  if (i < c.grid->points) c.pairs.positive_slope[i] = static_cast<float>(-c.share() * sums.sigmoid);
}

/// Slopes at the negatives, in the mirror image.
__global__ void __launch_bounds__(kChunk) negative_kernel(Convolution c) {
  if (!c.laid()) return;
  const std::int64_t chunk = blockIdx.x, i = chunk * kChunk + threadIdx.x;
  if (chunk >= c.chunks()) return;
  PointSums sums;
  if (c.own[kNegativeReaders * c.most_chunks + chunk].filled != 0) {
    sums = far_part(c.far[kPositiveSources * c.most_chunks + chunk], chunk, c.q());
    add_near_part<false>(c, kPositiveSources, chunk, sums);
  }
  if (i >= c.grid->points) return;
  c.pairs.negative_slope[c.grid->points - 1 - i] =
      static_cast<float>(c.share() * c.grid->inverse_temperature * sums.sigmoid);
}

__global__ void __launch_bounds__(kChunk) total_kernel(Convolution c) {
  double value = 0, moment = 0;
  for (std::int64_t i = threadIdx.x; c.laid() && i < c.chunks(); i += kChunk) {
    value += c.values[i];
    moment += c.moments[i];
  }
  value = block_sum<kChunk>(value);
  moment = block_sum<kChunk>(moment);
  if (threadIdx.x != 0) return;
  *c.pairs.value = c.laid() ? c.share() * value : static_cast<double>(NAN);
  *c.pairs.log_temperature = c.laid() ? -c.share() * moment : static_cast<double>(NAN);
}

std::int64_t chunks_of(std::int64_t capacity) {
  return (capacity + kChunk - 1) / kChunk;
}

}  // namespace

std::int64_t pair_on_grid_workspace(std::int64_t capacity) {
  constexpr std::int64_t kSums = 2 * kSides * sizeof(ChunkSums) / sizeof(double);
  return (kSums + 2) * chunks_of(capacity) + 3 * kTable;
}

void pair_on_grid(const GridPairs<float>& pairs, const ScoreGrid* grid, double* workspace,
                  cudaStream_t stream) {
  Convolution c{};
  c.pairs = pairs;
  c.grid = grid;
  c.most_chunks = chunks_of(pairs.capacity);
  c.softplus = workspace;
  c.sigmoid = c.softplus + kTable;
  c.moment = c.sigmoid + kTable;
  c.values = c.moment + kTable;
  c.moments = c.values + c.most_chunks;
  c.own = reinterpret_cast<ChunkSums*>(c.moments + c.most_chunks);
  c.far = c.own + kSides * c.most_chunks;
  const auto chunks = static_cast<unsigned>(c.most_chunks);
  launch<table_kernel>((kTable + kChunk - 1) / kChunk, kChunk, 0, stream, c);
  launch<chunk_sums_kernel>(dim3(chunks, kSides), kChunk, 0, stream, c);
  launch<far_sums_kernel>(dim3(2, 2), 1, 0, stream, c);
  launch<positive_kernel>(chunks, kChunk, 0, stream, c);
  launch<negative_kernel>(chunks, kChunk, 0, stream, c);
  launch<total_kernel>(1, kChunk, 0, stream, c);
}

}  // namespace toller
