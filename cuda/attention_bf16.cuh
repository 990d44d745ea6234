// The bf16 attention kernels' common parts: tiles between global and shared memory, exponentials, and the
// dropout mask in the accumulators' layout (attention.cu tells how the kernels work).
#pragma once

#include <cmath>
#include <cstdint>

#include "cuda/async_copy.cuh"
#include "cuda/attention_tiles.cuh"
#include "cuda/fragment.cuh"

namespace toller {

inline constexpr int kThreads = 128;
inline constexpr int kTile = kAttentionTile;
inline constexpr float kLog2E = 1.4426950408889634f;

/// 2ˣ to about 2⁻²² relative; 0 for −∞.
__device__ __forceinline__ float fast_exp2(float x) {
#ifdef __CUDACC__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return std::exp2(x);
#endif
}

/// Which of the four elements of a Philox block are dropped.
struct DroppedWords {
  bool word[4];
  __device__ __forceinline__ DroppedWords(const DropoutMask& mask, std::uint64_t block) {
    const uint4 words = philox_block(mask, block);
    word[0] = words.x < mask.threshold;
    word[1] = words.y < mask.threshold;
    word[2] = words.z < mask.threshold;
    word[3] = words.w < mask.threshold;
  }
};

/// Starts the copy of kRows rows; rows from `rows` on become zero.
template <int kSize, int kRows>
__device__ __forceinline__ void start_tile(SharedTile<kSize> tile, const bfloat16* rows_begin,
                                           std::int64_t stride, int rows) {
  constexpr int kChunks = kSize / 8;
#pragma unroll
  for (int i = 0; i < kRows * kChunks / kThreads; ++i) {
    const int row = (i * kThreads + static_cast<int>(threadIdx.x)) / kChunks;
    const int chunk = (i * kThreads + static_cast<int>(threadIdx.x)) % kChunks;
    const bool valid = row < rows;
    start_copy(tile.chunk(row, chunk), rows_begin + (valid ? row : 0) * stride + 8 * chunk, valid);
  }
}

/// Rounds a warp's 16 rows, times `factor`, and writes those below `rows` to memory, by way of its rows of
/// `tile`, which nobody else may still need.
template <int kSize>
__device__ __forceinline__ void store_rows(const FragmentC (&c)[kSize / 8], const float (&factor)[2],
                                           SharedTile<kSize> tile, int row, bfloat16* rows_begin,
                                           std::int64_t stride, int rows) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  __syncwarp();
#pragma unroll
  for (int n = 0; n < kSize / 8; ++n) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const std::uint32_t word = pack(c[n].x[2 * half] * factor[half], c[n].x[2 * half + 1] * factor[half]);
      *reinterpret_cast<std::uint32_t*>(tile.chunk(row + g + 8 * half, n) + 2 * t) = word;
    }
  }
  __syncwarp();
  constexpr int kChunks = kSize / 8;
#pragma unroll
  for (int i = lane; i < 16 * kChunks; i += 32) {
    const int r = row + i / kChunks, chunk = i % kChunks;
    if (r < rows) {
      *reinterpret_cast<uint4*>(rows_begin + r * stride + 8 * chunk) =
          *reinterpret_cast<const uint4*>(tile.chunk(r, chunk));
    }
  }
}

/// Dropped probabilities of a thread's query rows, `row` and row + 8 of the tile, for 64 keys from column
/// `key` on: bit 4 n + e is set for element e of the n-th accumulator.
__device__ __forceinline__ std::uint32_t dropped_elements(const AttentionShape& shape,
                                                          const DropoutMask& dropout, const HeadTile& at,
                                                          int row, int key) {
  std::uint64_t block[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    block[half] = first_mask_block(shape, at.first + at.row + min(row + 8 * half, at.rows - 1), at.head);
  }
  const int t = threadIdx.x % 4;
  std::uint32_t bits = 0;
#pragma unroll 1  // four Philox blocks at a time are enough to hide latencies; eight take too many registers
  for (int n = 0; n < 2; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int lane_block = key / 4 + 8 * n + 2 * t + e % 2;
      const DroppedWords drops(dropout, block[e / 2] + static_cast<std::uint64_t>(lane_block));
#pragma unroll
      for (int w = 0; w < 4; ++w) bits |= (drops.word[w] ? 1u << (8 * w + e) : 0u) << (4 * n);
    }
  }
  return bits;
}

/// Calls body.operator()<size, drops>() for the head size.
template <class Body>
void for_head_size(std::int64_t size, bool drops, const Body& body) {
  const auto with_size = [&]<int kSize>() {
    return drops ? body.template operator()<kSize, true>() : body.template operator()<kSize, false>();
  };
  if (size == 32) return with_size.template operator()<32>();
  if (size == 64) return with_size.template operator()<64>();
  check_head_size(size);
  return with_size.template operator()<128>();
}

}  // namespace toller
