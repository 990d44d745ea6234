// Attention in fp32, for verification: the mathematics of attention.cu with plain FMA, one query (forward,
// dQ) or one key (dK, dV) a warp. Lanes are 32 keys (queries) while scores are made and columns of the head
// while rows are summed; the scores go from one to the other through 32 floats of shared memory a warp.
//
// For each pair of query and key: forward 4 c FLOP, dQ 6 c, dK and dV 8 c, one exponential, a Philox block
// where dropout is on, and 8 c, 12 c, 12 c bytes, from the caches in the main. Nothing is reused between
// warps.
#include "cuda/attention.cuh"

#include <cmath>

#include "cuda/attention_tiles.cuh"
#include "cuda/reduce.cuh"

namespace toller {
namespace {

constexpr int kWarps = 4;
constexpr int kMaxSize = 128;

__device__ inline float dot(int size, const float* a, const float* b) {
  float sum = 0;
  for (int i = 0; i < size; ++i) sum = fmaf(a[i], b[i], sum);
  return sum;
}

/// Dropout scale of one probability; `first` is the first block of the query's mask.
__device__ inline float scale_of(const DropoutMask& dropout, std::uint64_t first, int key) {
  return dropout.active ? dropout_scale(dropout, first, key) : 1.0f;
}

/// A row of `size` columns shared out among the lanes of a warp.
struct LaneColumns {
  float x[kMaxSize / 32] = {};

  /// x += Σ_k weight[k] · row k, rows of `stride` from `rows` on.
  __device__ void add(int count, const float* weight, const float* rows, std::int64_t stride, int size) {
    for (int k = 0; k < count; ++k) {
      for (int i = 0; i < size / 32; ++i) {
        x[i] = fmaf(weight[k], rows[k * stride + 32 * i + threadIdx.x % 32], x[i]);
      }
    }
  }
  __device__ void store(float factor, int size, float* row) const {
    for (int i = 0; i < size / 32; ++i) row[32 * i + threadIdx.x % 32] = x[i] * factor;
  }
};

__global__ void __launch_bounds__(32 * kWarps)
    attention_forward_fp32_kernel(AttentionShape shape, DropoutMask dropout, const float* qkv,
                                  float* logsumexp, float* out) {
  __shared__ float shared_weight[kWarps][32];
  HeadTile at;
  if (!find_head_tile(shape, at)) return;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, size = shape.hidden / shape.heads;
  const std::int64_t stride = 3 * static_cast<std::int64_t>(shape.hidden);
  float* weight = shared_weight[warp];
  for (int row = warp; row < at.rows; row += kWarps) {
    const std::int64_t token = at.first + at.row + row;
    const std::uint64_t mask = first_mask_block(shape, token, at.head);
    const float* query = qkv + token * stride + at.head * size;
    const float* keys = qkv + at.first * stride + shape.hidden + at.head * size;
    LaneColumns sum_of_rows;
    float highest = -INFINITY, sum = 0;
    for (int begin = 0; begin < at.length; begin += 32) {
      const int key = begin + lane;
      const bool valid = key < at.length;
      const float score = valid ? shape.scale * dot(size, query, keys + key * stride) : -INFINITY;
      const float now = fmaxf(highest, warp_max(score)), shrink = expf(highest - now);
      const float term = expf(score - now);
      highest = now;
      sum = sum * shrink + term;
      for (float& x : sum_of_rows.x) x *= shrink;
      weight[lane] = valid ? term * scale_of(dropout, mask, key) : 0;
      __syncwarp();
      sum_of_rows.add(min(32, at.length - begin), weight, keys + shape.hidden + begin * stride, stride, size);
      __syncwarp();
    }
    sum = warp_sum(sum);
    sum_of_rows.store(1 / sum, size, out + token * shape.hidden + at.head * size);
    if (lane == 0) logsumexp[token * shape.heads + at.head] = highest + logf(sum);
  }
}

/// dQ and δ.
__global__ void __launch_bounds__(32 * kWarps)
    attention_backward_query_fp32_kernel(AttentionShape shape, DropoutMask dropout, const float* qkv,
                                         const float* out, const float* logsumexp, const float* dout,
                                         float* delta, float* dqkv) {
  __shared__ float shared_weight[kWarps][32];
  HeadTile at;
  if (!find_head_tile(shape, at)) return;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, size = shape.hidden / shape.heads;
  const std::int64_t stride = 3 * static_cast<std::int64_t>(shape.hidden);
  float* weight = shared_weight[warp];
  for (int row = warp; row < at.rows; row += kWarps) {
    const std::int64_t token = at.first + at.row + row;
    const std::uint64_t mask = first_mask_block(shape, token, at.head);
    const std::int64_t head = token * shape.hidden + at.head * size,
                       statistic = token * shape.heads + at.head;
    const float* query = qkv + token * stride + at.head * size;
    const float* keys = qkv + at.first * stride + shape.hidden + at.head * size;
    const float mean = dot(size, dout + head, out + head);
    if (lane == 0) delta[statistic] = mean;
    LaneColumns dq;
    for (int begin = 0; begin < at.length; begin += 32) {
      const int key = begin + lane;
      weight[lane] = 0;
      if (key < at.length) {
        const float* k = keys + key * stride;
        const float p = expf(shape.scale * dot(size, query, k) - logsumexp[statistic]);
        const float dp = scale_of(dropout, mask, key) * dot(size, dout + head, k + shape.hidden);
        weight[lane] = p * (dp - mean);
      }
      __syncwarp();
      dq.add(min(32, at.length - begin), weight, keys + begin * stride, stride, size);
      __syncwarp();
    }
    dq.store(shape.scale, size, dqkv + token * stride + at.head * size);
  }
}

/// dK and dV.
__global__ void __launch_bounds__(32 * kWarps)
    attention_backward_key_fp32_kernel(AttentionShape shape, DropoutMask dropout, const float* qkv,
                                       const float* logsumexp, const float* delta, const float* dout,
                                       float* dqkv) {
  __shared__ float shared_p[kWarps][32], shared_ds[kWarps][32];
  HeadTile at;
  if (!find_head_tile(shape, at)) return;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, size = shape.hidden / shape.heads;
  const std::int64_t stride = 3 * static_cast<std::int64_t>(shape.hidden);
  float *weight_p = shared_p[warp], *weight_ds = shared_ds[warp];
  const float* queries = qkv + at.first * stride + at.head * size;
  const float* gradients = dout + at.first * shape.hidden + at.head * size;
  for (int row = warp; row < at.rows; row += kWarps) {
    const std::int64_t key = at.row + row;
    const float *k = queries + shape.hidden + key * stride, *v = k + shape.hidden;
    LaneColumns dk, dv;
    for (int begin = 0; begin < at.length; begin += 32) {
      const std::int64_t i = begin + lane, statistic = (at.first + i) * shape.heads + at.head;
      weight_p[lane] = weight_ds[lane] = 0;
      if (i < at.length) {
        const float p = expf(shape.scale * dot(size, queries + i * stride, k) - logsumexp[statistic]);
        const float mask =
            scale_of(dropout, first_mask_block(shape, at.first + i, at.head), static_cast<int>(key));
        weight_p[lane] = p * mask;
        weight_ds[lane] = p * (mask * dot(size, gradients + i * shape.hidden, v) - delta[statistic]);
      }
      __syncwarp();
      const int count = min(32, at.length - begin);
      dv.add(count, weight_p, gradients + static_cast<std::int64_t>(begin) * shape.hidden, shape.hidden,
             size);
      dk.add(count, weight_ds, queries + begin * stride, stride, size);
      __syncwarp();
    }
    float* target = dqkv + (at.first + key) * stride + shape.hidden + at.head * size;
    dk.store(shape.scale, size, target);
    dv.store(1, size, target + shape.hidden);
  }
}

}  // namespace

template <>
void attention<float>(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads,
                      const AttentionWork& work, const float* qkv, const Dropout& dropout, float* logsumexp,
                      float* out, cudaStream_t stream) {
  if (sequences.tokens == 0) return;
  check_head_size(hidden / heads);
  launch<attention_forward_fp32_kernel>(attention_blocks(sequences, heads), 32 * kWarps, 0, stream,
                                        attention_shape(sequences, hidden, heads, work),
                                        make_dropout_mask(dropout), qkv, logsumexp, out);
}

template <>
void attention_backward<float>(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads,
                               const AttentionWork& work, const float* qkv, const float* out,
                               const float* logsumexp, const float* dout, const Dropout& dropout,
                               float* delta, float* dqkv, cudaStream_t stream) {
  if (sequences.tokens == 0) return;
  check_head_size(hidden / heads);
  const AttentionShape shape = attention_shape(sequences, hidden, heads, work);
  const unsigned blocks = attention_blocks(sequences, heads);
  const DropoutMask mask = make_dropout_mask(dropout);
  launch<attention_backward_query_fp32_kernel>(blocks, 32 * kWarps, 0, stream, shape, mask, qkv, out,
                                               logsumexp, dout, delta, dqkv);
  launch<attention_backward_key_fp32_kernel>(blocks, 32 * kWarps, 0, stream, shape, mask, qkv, logsumexp,
                                             static_cast<const float*>(delta), dout, dqkv);
}

}  // namespace toller
