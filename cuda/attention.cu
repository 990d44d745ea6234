// Attention on tensor cores, bf16 with fp32 sums and statistics: the forward pass, and the list of tiles that
// both passes work through (attention_backward.cu has the other kernels, attention_fp32.cu the verification
// mode). With S = Q Kᵀ/√c, lse_i = log Σ_j e^{S_ij}, P = e^{S − lse}, M the dropout scales (0 or 1/(1 −
// rate)):
//   O = (P ∘ M) V,  dV = (P ∘ M)ᵀ dO,  dP = M ∘ (dO Vᵀ),  δ_i = ⟨dO_i, O_i⟩,
//   dS = P ∘ (dP − δ),  dQ = dS K/√c,  dK = dSᵀ Q/√c
// Neither S nor P is ever in memory: the forward pass keeps a running maximum and sum for each query (online
// softmax; Dao et al., FlashAttention, NeurIPS 2022), the backward pass recomputes P from lse. The backward
// pass is two kernels, one over query tiles (dQ and δ) and one over key tiles (dK, dV): two products more
// than with atomic sums of dQ, but the same bits every time.
//
// A block is 4 warps on 64 rows of one head; a warp owns 16 rows and keeps everything about them in
// registers. The other side of the product streams through shared memory in tiles of L rows, two stages, the
// next tile copied while the current one is multiplied. L = 64 in the forward pass and for dQ (32 for dQ with
// c = 128), 32 for dK and dV, to fit the registers. Warps and groups of 16 streamed rows beyond the
// sequence's end are skipped.
//
// For 64 rows × 64 streamed rows and head size c (c = 64 in brackets):
//                     forward            dQ                  dK, dV
//   tensor cores      4·64²·c (1.05 M)   6·64²·c (1.57 M)    8·64²·c (2.10 M) FLOP
//   exponentials      64² (4 K)          64²                 64²
//   Philox blocks     64²/4 (1 K, about 70 integer operations each; with dropout only)
//   to shared memory  256 c (16 KiB)     256 c               256 c + 512 bytes
// and once a block, in bytes: forward 256 c + 256, dQ 640 c + 512, dK and dV 512 c. From global memory
// everything comes once: blocks of one sequence run at the same time and share its tiles in L2. Bytes of
// shared memory a block: forward 640 c, dQ 768 c (512 c for c = 128), dK and dV 512 c + 1024.
//
// Dropout: mask bits come from the Philox blocks of device/cpu/dropout.h. A block's four words belong to
// columns l, l + 16, l + 32, l + 48 of a group of 64 keys, which are all in the same thread's accumulators
// where queries are the rows (forward, dQ): 8 blocks make a thread's 32 bits. Where keys are the rows (dK,
// dV) the bits go through shared memory, gathered over 32 queries by a vote.
#include "cuda/attention.cuh"

#include <cmath>

#include "cuda/attention_bf16.cuh"
#include "cuda/reduce.cuh"

namespace toller {
namespace {

/// Blocks that a multiprocessor shall have room for: the compiler keeps the registers to that.
template <int kSize>
constexpr int kForwardBlocks = kSize == 128 ? 2 : 4;

/// What a thread keeps of its two query rows.
template <int kSize>
struct OnlineSoftmax {
  FragmentC out[kSize / 8] = {};              ///< Σ_j e^{S_ij − highest_i} v_j, dropped ones left out
  float highest[2] = {-INFINITY, -INFINITY};  ///< of the unscaled scores
  float sum[2] = {0, 0};                      ///< this thread's part of Σ_j e^{S_ij − highest_i}

  /// Takes in scores of `columns` keys; leaves in s the terms of the sum, 0 where dropped.
  template <int kTiles>
  __device__ __forceinline__ void add(FragmentC (&s)[kTiles], int columns, float scale2,
                                      std::uint32_t dropped) {
    const int t = threadIdx.x % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float now = highest[half];
#pragma unroll
      for (int i = 0; i < 2 * kTiles; ++i) {
        float& score = s[i / 2].x[2 * half + i % 2];
        if (8 * (i / 2) + 2 * t + i % 2 >= columns) score = -INFINITY;
        now = fmaxf(now, score);
      }
      now = warp_max<4>(now);
      const float shrink = fast_exp2((highest[half] - now) * scale2), shift = now * scale2;
      highest[half] = now;
      sum[half] *= shrink;
#pragma unroll
      for (int n = 0; n < kSize / 8; ++n) {
        out[n].x[2 * half] *= shrink;
        out[n].x[2 * half + 1] *= shrink;
      }
#pragma unroll
      for (int i = 0; i < 2 * kTiles; ++i) {
        float& score = s[i / 2].x[2 * half + i % 2];
        const float term = fast_exp2(fmaf(score, scale2, -shift));
        sum[half] += term;
        score = dropped >> (4 * (i / 2) + 2 * half + i % 2) & 1 ? 0.0f : term;
      }
    }
  }
};

template <int kSize, bool kDrops>
__global__ void __launch_bounds__(kThreads, kForwardBlocks<kSize>)
    attention_forward_kernel(AttentionShape shape, DropoutMask dropout, const bfloat16* qkv, float* logsumexp,
                             bfloat16* out) {
  HeadTile at;
  if (!find_head_tile(shape, at)) return;
  const int row = threadIdx.x / 32 * 16, g = threadIdx.x % 32 / 4;
  const bool active = row < at.rows;
  auto* shared = dynamic_shared<bfloat16>();
  const auto tile = [shared](int i) { return SharedTile<kSize>{shared + i * kTile * kSize}; };
  const std::int64_t stride = 3 * static_cast<std::int64_t>(shape.hidden);
  const bfloat16* query = qkv + at.first * stride + at.head * kSize;
  const bfloat16 *key = query + shape.hidden, *value = key + shape.hidden;

  start_tile<kSize, kTile>(tile(0), query + at.row * stride, stride, at.rows);
  start_tile<kSize, kTile>(tile(1), key, stride, at.length);
  start_tile<kSize, kTile>(tile(2), value, stride, at.length);
  wait_for_copies();
  __syncthreads();
  OnlineSoftmax<kSize> softmax;
  for (int begin = 0, stage = 1; begin < at.length; begin += kTile, stage ^= 2) {
    const int next = begin + kTile;
    if (next < at.length) {
      start_tile<kSize, kTile>(tile(stage ^ 2), key + next * stride, stride, at.length - next);
      start_tile<kSize, kTile>(tile((stage ^ 2) + 1), value + next * stride, stride, at.length - next);
    }
    if (active) {
      const std::uint32_t dropped = kDrops ? dropped_elements(shape, dropout, at, row + g, begin) : 0;
      FragmentC s[kTile / 8];
      multiply_transposed(tile(0), row, tile(stage), at.length - begin, s);
      softmax.add(s, at.length - begin, shape.scale * kLog2E, dropped);
      multiply_add_rows(s, tile(stage + 1), at.length - begin, softmax.out);
    }
    wait_for_copies();
    __syncthreads();
  }
  if (!active) return;
  float factor[2];
  const std::int64_t token = at.first + at.row;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float sum = warp_sum<4>(softmax.sum[half]);
    const int r = row + g + 8 * half;
    factor[half] = (kDrops ? dropout.keep : 1.0f) / sum;
    if (threadIdx.x % 4 == 0 && r < at.rows) {
      logsumexp[(token + r) * shape.heads + at.head] = softmax.highest[half] * shape.scale + logf(sum);
    }
  }
  store_rows(softmax.out, factor, tile(0), row, out + token * shape.hidden + at.head * kSize, shape.hidden,
             at.rows);
}

template <int kSize, bool kDrops>
void forward(const PackedSequences& sequences, const AttentionShape& shape, const DropoutMask& dropout,
             const bfloat16* qkv, float* logsumexp, bfloat16* out, cudaStream_t stream) {
  constexpr std::size_t kShared = 5 * kTile * kSize * sizeof(bfloat16);
  constexpr auto kKernel = attention_forward_kernel<kSize, kDrops>;
  allow_shared_memory<kKernel>(kShared);
  launch<kKernel>(attention_blocks(sequences, shape.heads), kThreads, kShared, stream, shape, dropout, qkv,
                  logsumexp, out);
}

// ---- the list of tiles

constexpr int kWorkThreads = 256;
constexpr int kClasses = 129;  ///< sequences by number of tiles; the last class takes 128 and more

/// One block. Counts the tiles of each class of sequences, gives longer classes the earlier places, and lets
/// each sequence take places in its class.
__global__ void __launch_bounds__(kWorkThreads)
    attention_work_kernel(const std::int32_t* offsets, std::int64_t count, AttentionTile* tiles,
                          std::int32_t* tile_count) {
  __shared__ std::int32_t place[kClasses];
  for (int i = threadIdx.x; i < kClasses; i += kWorkThreads) place[i] = 0;
  __syncthreads();
  const auto tiles_of = [offsets](std::int64_t i) {
    return (offsets[i + 1] - offsets[i] + kTile - 1) / kTile;
  };
  for (std::int64_t i = threadIdx.x; i < count; i += kWorkThreads) {
    atomicAdd(&place[min(tiles_of(i), kClasses - 1)], tiles_of(i));
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    std::int32_t begin = 0;
    for (int i = kClasses - 1; i >= 0; --i) {
      const std::int32_t tiles_here = place[i];
      place[i] = begin;
      begin += tiles_here;
    }
    *tile_count = begin;
  }
  __syncthreads();
  for (std::int64_t i = threadIdx.x; i < count; i += kWorkThreads) {
    const std::int32_t own = tiles_of(i), first = offsets[i], length = offsets[i + 1] - first;
    const std::int32_t begin = atomicAdd(&place[min(own, kClasses - 1)], own);
    for (std::int32_t k = 0; k < own; ++k) tiles[begin + k] = {first, length, k * kTile, 0};
  }
}

}  // namespace

void build_attention_work(const PackedSequences& sequences, const AttentionWork& work, cudaStream_t stream) {
  launch<attention_work_kernel>(1, kWorkThreads, 0, stream, sequences.offsets, sequences.count, work.tiles,
                                work.count);
}

template <>
void attention<bfloat16>(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads,
                         const AttentionWork& work, const bfloat16* qkv, const Dropout& dropout,
                         float* logsumexp, bfloat16* out, cudaStream_t stream) {
  if (sequences.tokens == 0) return;
  const AttentionShape shape = attention_shape(sequences, hidden, heads, work);
  for_head_size(hidden / heads, dropout.rate > 0, [&]<int kSize, bool kDrops>() {
    forward<kSize, kDrops>(sequences, shape, make_dropout_mask(dropout), qkv, logsumexp, out, stream);
  });
}

}  // namespace toller
