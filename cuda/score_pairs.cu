// Pairs of a tile that are treated apart: their scores put aside, masked, their gradients added. A thread has
// a pair: 8 bytes of it and a transaction of 32 bytes at its score, twice where that is changed. A batch has
// a few times as many pairs as queries.
#include "cuda/bfloat16.cuh"
#include "cuda/launch.cuh"
#include "cuda/score_tiles.cuh"

namespace toller {
namespace {

constexpr int kThreads = 256;

unsigned thread_blocks(std::int64_t n) {
  return static_cast<unsigned>((n + kThreads - 1) / kThreads);
}

/// body(place in the tile, number) for the thread's pair, if it is in the tile.
template <class Body>
__device__ __forceinline__ void for_pair(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair,
                                         Body body) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= pairs) return;
  const std::int64_t row = pair[i].row - tile.row, column = pair[i].column - tile.column;
  if (row < 0 || row >= tile.rows || column < 0 || column >= tile.columns) return;
  body(row * tile.columns + column, i);
}

__global__ void __launch_bounds__(kThreads)
    read_pairs_kernel(ScoreTile tile, std::int64_t pairs, const ScorePair* pair, const float* scores,
                      float* kept) {
  for_pair(tile, pairs, pair, [&](std::int64_t place, std::int64_t i) { kept[i] = scores[place]; });
}

__global__ void __launch_bounds__(kThreads)
    mask_pairs_kernel(ScoreTile tile, std::int64_t pairs, const ScorePair* pair, float* scores) {
  for_pair(tile, pairs, pair, [&](std::int64_t place, std::int64_t) { scores[place] = -INFINITY; });
}

__global__ void __launch_bounds__(kThreads)
    shift_pairs_kernel(ScoreTile tile, std::int64_t pairs, const ScorePair* pair, float amount,
                       float* scores) {
  for_pair(tile, pairs, pair, [&](std::int64_t place, std::int64_t) { scores[place] += amount; });
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    add_pair_gradients_kernel(ScoreTile tile, std::int64_t pairs, const ScorePair* pair,
                              const double* pair_gradient, const double* inverse_temperature, T* gradient) {
  for_pair(tile, pairs, pair, [&](std::int64_t place, std::int64_t i) {
    const auto added = static_cast<float>(*inverse_temperature * pair_gradient[i]);
    gradient[place] = from_float<T>(to_float(gradient[place]) + added);
  });
}

}  // namespace

void read_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair, const float* scores,
                float* kept, cudaStream_t stream) {
  if (pairs == 0) return;
  launch<read_pairs_kernel>(thread_blocks(pairs), kThreads, 0, stream, tile, pairs, pair, scores, kept);
}

void mask_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair, float* scores,
                cudaStream_t stream) {
  if (pairs == 0) return;
  launch<mask_pairs_kernel>(thread_blocks(pairs), kThreads, 0, stream, tile, pairs, pair, scores);
}

void shift_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair, float amount,
                 float* scores, cudaStream_t stream) {
  if (pairs == 0) return;
  launch<shift_pairs_kernel>(thread_blocks(pairs), kThreads, 0, stream, tile, pairs, pair, amount, scores);
}

template <class T>
void add_pair_gradients(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair,
                        const double* pair_gradient, const double* inverse_temperature, T* gradient,
                        cudaStream_t stream) {
  if (pairs == 0) return;
  launch<add_pair_gradients_kernel<T>>(thread_blocks(pairs), kThreads, 0, stream, tile, pairs, pair,
                                       pair_gradient, inverse_temperature, gradient);
}

#define TOLLER_INSTANTIATE(T)                                                                          \
  template void add_pair_gradients<T>(const ScoreTile&, std::int64_t, const ScorePair*, const double*, \
                                      const double*, T*, cudaStream_t);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(bfloat16)
#undef TOLLER_INSTANTIATE

}  // namespace toller
