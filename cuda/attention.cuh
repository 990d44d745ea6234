// Multi-head attention inside packed sequences on CUDA: the semantics of Ops::attention and
// Ops::attention_backward (device/ops.h). Matrices are bf16 (tensor cores; sums and statistics in fp32) or
// float (the verification mode: plain FMA). hidden / heads is 32, 64 or 128.
#pragma once

#include <cstdint>

#include "cuda/bfloat16.cuh"
#include "cuda/launch.cuh"
#include "device/ops.h"

namespace toller {

/// Rows of a query tile and of a key tile.
inline constexpr int kAttentionTile = 64;

/// 64 consecutive rows of a sequence: what one block works on, for one head.
struct alignas(16) AttentionTile {
  std::int32_t first;   ///< first token of the sequence
  std::int32_t length;  ///< tokens of the sequence
  std::int32_t row;     ///< first row of the tile in the sequence
  std::int32_t unused;
};

/// The tiles of a packed batch, those of long sequences first, so that the last blocks to run are short ones.
/// Built on the device once a batch and used by every layer, forward and backward.
struct AttentionWork {
  AttentionTile* tiles = nullptr;  ///< [attention_tiles_at_most(…)]
  std::int32_t* count = nullptr;   ///< [1]; tiles that there are
};

/// Upper bound of the number of tiles from what the host knows: Σ ⌈length / 64⌉ ≤ tokens / 64 + count.
inline std::int64_t attention_tiles_at_most(const PackedSequences& sequences) {
  return sequences.tokens / kAttentionTile + sequences.count;
}

/// Throws Error where there is no kernel for heads of `size` columns.
void check_head_size(std::int64_t size);

/// Fills `work`. Which of two sequences with equally many tiles comes first is left open; results do not
/// depend on it.
void build_attention_work(const PackedSequences& sequences, const AttentionWork& work, cudaStream_t stream);

/// qkv [tokens, 3 hidden], out [tokens, hidden], logsumexp [tokens, heads] (natural logarithm, fp32).
template <class T>
void attention(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads,
               const AttentionWork& work, const T* qkv, const Dropout& dropout, float* logsumexp, T* out,
               cudaStream_t stream);

/// dqkv [tokens, 3 hidden] is overwritten. delta [tokens, heads] is memory for ⟨dO_i, O_i⟩. The same bits for
/// the same input: no atomics.
template <class T>
void attention_backward(const PackedSequences& sequences, std::int64_t hidden, std::int64_t heads,
                        const AttentionWork& work, const T* qkv, const T* out, const float* logsumexp,
                        const T* dout, const Dropout& dropout, float* delta, T* dqkv, cudaStream_t stream);

}  // namespace toller
