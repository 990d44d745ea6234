// Backward pass of attention on tensor cores: one kernel for dQ and δ, one for dK and dV. The mathematics,
// the work of a tile and the layout of a block are in attention.cu.
#include "cuda/attention.cuh"

#include <cmath>

#include "cuda/attention_bf16.cuh"
#include "cuda/reduce.cuh"

namespace toller {
namespace {

/// Rows of a streamed tile: of keys and values for dQ, of queries and gradients for dK and dV.
template <int kSize>
constexpr int kKeyRows = kSize == 128 ? 32 : 64;
constexpr int kQueryRows = 32;

/// Blocks that a multiprocessor shall have room for: the compiler keeps the registers to that.
template <int kSize>
constexpr int kQueryBlocks = kSize == 128 ? 2 : 3;
template <int kSize>
constexpr int kKeyBlocks = kSize == 128 ? 2 : (kSize == 64 ? 3 : 4);

/// ⟨dO_i, O_i⟩ over one head's columns; the four lanes of a row take a quarter each.
template <int kSize>
__device__ __forceinline__ float row_delta(const bfloat16* dout, const bfloat16* out) {
  const int t = threadIdx.x % 4;
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kSize / 32; ++i) {
    const uint4 a = reinterpret_cast<const uint4*>(dout)[4 * i + t];
    const uint4 b = reinterpret_cast<const uint4*>(out)[4 * i + t];
    sum += dot_packed(a.x, b.x) + dot_packed(a.y, b.y) + dot_packed(a.z, b.z) + dot_packed(a.w, b.w);
  }
  return warp_sum<4>(sum);
}

/// dQ and δ of 64 queries.
template <int kSize, bool kDrops>
__global__ void __launch_bounds__(kThreads, kQueryBlocks<kSize>)
    attention_backward_query_kernel(AttentionShape shape, DropoutMask dropout, const bfloat16* qkv,
                                    const bfloat16* out, const float* logsumexp, const bfloat16* dout,
                                    float* delta_out, bfloat16* dqkv) {
  constexpr int kRows = kKeyRows<kSize>;
  HeadTile at;
  if (!find_head_tile(shape, at)) return;
  const int row = threadIdx.x / 32 * 16, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const bool active = row < at.rows;
  auto* shared = dynamic_shared<bfloat16>();
  const SharedTile<kSize> queries{shared}, gradients{shared + kTile * kSize};
  const auto tile = [shared](int i) { return SharedTile<kSize>{shared + (2 * kTile + i * kRows) * kSize}; };
  const std::int64_t stride = 3 * static_cast<std::int64_t>(shape.hidden), token = at.first + at.row;
  const bfloat16* query = qkv + at.first * stride + at.head * kSize;
  const bfloat16 *key = query + shape.hidden, *value = key + shape.hidden;
  const std::int64_t head_of_token = token * shape.hidden + at.head * kSize;

  start_tile<kSize, kTile>(queries, query + at.row * stride, stride, at.rows);
  start_tile<kSize, kTile>(gradients, dout + head_of_token, shape.hidden, at.rows);
  start_tile<kSize, kRows>(tile(0), key, stride, at.length);
  start_tile<kSize, kRows>(tile(1), value, stride, at.length);
  float delta[2] = {0, 0}, shift[2] = {0, 0};
  if (active) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int r = min(row + g + 8 * half, at.rows - 1);
      const std::int64_t statistic = (token + r) * shape.heads + at.head,
                         offset = head_of_token + r * shape.hidden;
      delta[half] = row_delta<kSize>(dout + offset, out + offset);
      shift[half] = logsumexp[statistic] * kLog2E;
      if (t == 0) delta_out[statistic] = delta[half];
    }
  }
  wait_for_copies();
  __syncthreads();
  FragmentC dq[kSize / 8] = {};
  std::uint32_t dropped = 0;
  for (int begin = 0, stage = 0; begin < at.length; begin += kRows, stage ^= 2) {
    const int next = begin + kRows, columns = at.length - begin;
    if (next < at.length) {
      start_tile<kSize, kRows>(tile(stage ^ 2), key + next * stride, stride, at.length - next);
      start_tile<kSize, kRows>(tile((stage ^ 2) + 1), value + next * stride, stride, at.length - next);
    }
    if (active) {
      if (kDrops) {  // bits are made for 64 keys, which may be two streamed tiles
        dropped = begin % 64 == 0 ? dropped_elements(shape, dropout, at, row + g, begin) : dropped >> 16;
      }
      FragmentC s[kRows / 8], dp[kRows / 8];
      multiply_transposed(queries, row, tile(stage), columns, s);
      multiply_transposed(gradients, row, tile(stage + 1), columns, dp);
#pragma unroll
      for (int i = 0; i < kRows / 2; ++i) {
        const int n = i / 4, e = i % 4;
        const float p = fast_exp2(fmaf(s[n].x[e], shape.scale * kLog2E, -shift[e / 2]));
        const float through = !kDrops ? dp[n].x[e] : dropped >> i & 1 ? 0.0f : dropout.keep * dp[n].x[e];
        s[n].x[e] = 8 * n + 2 * t + e % 2 < columns ? p * (through - delta[e / 2]) : 0.0f;
      }
      multiply_add_rows(s, tile(stage), columns, dq);
    }
    wait_for_copies();
    __syncthreads();
  }
  if (!active) return;
  const float factor[2] = {shape.scale, shape.scale};
  store_rows(dq, factor, queries, row, dqkv + token * stride + at.head * kSize, stride, at.rows);
}

/// Statistics and mask bits of the streamed queries, one stage.
struct alignas(16) QueryStatistics {
  float shift[kQueryRows];  ///< log-sum-exp, base 2; 0 beyond the sequence's end, where zero rows make P = 1
  float delta[kQueryRows];  ///< 0 there: with zero gradients, dS is 0
  std::uint32_t dropped[kTile];  ///< bit i: the key's probability for query i is dropped

  __device__ __forceinline__ void load(const AttentionShape& shape, const HeadTile& at,
                                       const float* logsumexp, const float* delta_of_query, int begin) {
    const int i = threadIdx.x;
    if (i >= kQueryRows) return;
    const std::int64_t statistic = (at.first + begin + i) * shape.heads + at.head;
    const bool valid = begin + i < at.length;
    shift[i] = valid ? logsumexp[statistic] * kLog2E : 0.0f;
    delta[i] = valid ? delta_of_query[statistic] : 0.0f;
  }

  /// Mask bits of queries from `begin` on and the 64 keys from at.row on: lanes are queries, warps share out
  /// the Philox blocks of a group of keys.
  __device__ __forceinline__ void load_mask(const AttentionShape& shape, const DropoutMask& dropout,
                                            const HeadTile& at, int begin) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int query = min(begin + lane, at.length - 1);
    const std::uint64_t block =
        first_mask_block(shape, at.first + query, at.head) + static_cast<std::uint64_t>(at.row / 4);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int l = 4 * warp + i;
      const DroppedWords drops(dropout, block + static_cast<std::uint64_t>(l));
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        const std::uint32_t bits = __ballot_sync(0xFFFFFFFFu, drops.word[w]);
        if (lane == 0) dropped[16 * w + l] = bits;
      }
    }
  }
};

/// dK and dV of 64 keys. Fragments are transposed: keys are rows, queries are columns.
template <int kSize, bool kDrops>
__global__ void __launch_bounds__(kThreads, kKeyBlocks<kSize>)
    attention_backward_key_kernel(AttentionShape shape, DropoutMask dropout, const bfloat16* qkv,
                                  const float* logsumexp, const float* delta, const bfloat16* dout,
                                  bfloat16* dqkv) {
  HeadTile at;
  if (!find_head_tile(shape, at)) return;
  const int row = threadIdx.x / 32 * 16, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const bool active = row < at.rows;
  auto* shared = dynamic_shared<bfloat16>();
  const SharedTile<kSize> keys{shared}, values{shared + kTile * kSize};
  const auto tile = [shared](int i) {
    return SharedTile<kSize>{shared + (2 * kTile + i * kQueryRows) * kSize};
  };
  auto* statistics = reinterpret_cast<QueryStatistics*>(shared + (2 * kTile + 4 * kQueryRows) * kSize);
  const std::int64_t stride = 3 * static_cast<std::int64_t>(shape.hidden);
  const bfloat16* query = qkv + at.first * stride + at.head * kSize;
  const bfloat16* gradient = dout + at.first * shape.hidden + at.head * kSize;
  const bfloat16* key = query + shape.hidden + at.row * stride;
  const auto start_queries = [&](int begin, int stage) {
    start_tile<kSize, kQueryRows>(tile(2 * stage), query + begin * stride, stride, at.length - begin);
    start_tile<kSize, kQueryRows>(tile(2 * stage + 1),
                                  gradient + static_cast<std::int64_t>(begin) * shape.hidden, shape.hidden,
                                  at.length - begin);
    statistics[stage].load(shape, at, logsumexp, delta, begin);
    if (kDrops) statistics[stage].load_mask(shape, dropout, at, begin);
  };

  start_tile<kSize, kTile>(keys, key, stride, at.rows);
  start_tile<kSize, kTile>(values, key + shape.hidden, stride, at.rows);
  start_queries(0, 0);
  wait_for_copies();
  __syncthreads();
  FragmentC dk[kSize / 8] = {}, dv[kSize / 8] = {};
  for (int begin = 0, stage = 0; begin < at.length; begin += kQueryRows, stage ^= 1) {
    if (begin + kQueryRows < at.length) start_queries(begin + kQueryRows, stage ^ 1);
    if (active) {
      const QueryStatistics& now = statistics[stage];
      const SharedTile<kSize> queries = tile(2 * stage), gradients = tile(2 * stage + 1);
      const int columns = at.length - begin;
      FragmentC p[kQueryRows / 8], ds[kQueryRows / 8];
      multiply_transposed(keys, row, queries, columns, p);
      multiply_transposed(values, row, gradients, columns, ds);
#pragma unroll
      for (int i = 0; i < kQueryRows / 2; ++i) {
        const int n = i / 4, e = i % 4, column = 8 * n + 2 * t + e % 2;
        const bool drop = kDrops && (now.dropped[row + g + e / 2 * 8] >> column & 1);
        const float term = fast_exp2(fmaf(p[n].x[e], shape.scale * kLog2E, -now.shift[column]));
        const float through = drop ? 0.0f : (kDrops ? dropout.keep : 1.0f) * ds[n].x[e];
        ds[n].x[e] = term * (through - now.delta[column]);
        p[n].x[e] = drop ? 0.0f : term;
      }
      multiply_add_rows(p, gradients, columns, dv);
      multiply_add_rows(ds, queries, columns, dk);
    }
    wait_for_copies();
    __syncthreads();
  }
  if (!active) return;
  const float key_factor[2] = {shape.scale, shape.scale};
  const float value_factor[2] = {kDrops ? dropout.keep : 1.0f, kDrops ? dropout.keep : 1.0f};
  bfloat16* target = dqkv + (at.first + at.row) * stride + shape.hidden + at.head * kSize;
  store_rows(dk, key_factor, keys, row, target, stride, at.rows);
  store_rows(dv, value_factor, values, row, target + shape.hidden, stride, at.rows);
}

template <int kSize, bool kDrops>
void backward(const PackedSequences& sequences, const AttentionShape& shape, const DropoutMask& dropout,
              const bfloat16* qkv, const bfloat16* out, const float* logsumexp, const bfloat16* dout,
              float* delta, bfloat16* dqkv, cudaStream_t stream) {
  constexpr std::size_t kQueryShared = (2 * kTile + 4 * kKeyRows<kSize>)*kSize * sizeof(bfloat16);
  constexpr std::size_t kKeyShared =
      (2 * kTile + 4 * kQueryRows) * kSize * sizeof(bfloat16) + 2 * sizeof(QueryStatistics);
  constexpr auto kQueryKernel = attention_backward_query_kernel<kSize, kDrops>;
  constexpr auto kKeyKernel = attention_backward_key_kernel<kSize, kDrops>;
  const unsigned blocks = attention_blocks(sequences, shape.heads);
  allow_shared_memory<kQueryKernel>(kQueryShared);
  launch<kQueryKernel>(blocks, kThreads, kQueryShared, stream, shape, dropout, qkv, out, logsumexp, dout,
                       delta, dqkv);
  allow_shared_memory<kKeyKernel>(kKeyShared);
  launch<kKeyKernel>(blocks, kThreads, kKeyShared, stream, shape, dropout, qkv, logsumexp,
                     static_cast<const float*>(delta), dout, dqkv);
}

}  // namespace

template <>
void attention_backward<bfloat16>(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads,
                                  const AttentionWork& work, const bfloat16* qkv, const bfloat16* out,
                                  const float* logsumexp, const bfloat16* dout, const Dropout& dropout,
                                  float* delta, bfloat16* dqkv, cudaStream_t stream) {
  if (sequences.tokens == 0) return;
  const AttentionShape shape = attention_shape(sequences, hidden, heads, work);
  for_head_size(hidden / heads, dropout.rate > 0, [&]<int kSize, bool kDrops>() {
    backward<kSize, kDrops>(sequences, shape, make_dropout_mask(dropout), qkv, out, logsumexp, dout, delta,
                            dqkv, stream);
  });
}

}  // namespace toller
