// What the attention kernels of both modes share: which part of the batch a block works on, and where the
// dropout mask of a query row begins.
#pragma once

#include <cmath>
#include <cstdint>

#include "cuda/attention.cuh"
#include "cuda/philox.cuh"

namespace toller {

/// The batch as the kernels see it.
struct AttentionShape {
  const AttentionTile* tiles;
  const std::int32_t* tile_count;
  const std::int64_t* global_row;
  std::int32_t hidden;
  std::int32_t heads;
  std::int32_t mask_width;  ///< columns of the dropout mask
  float scale;              ///< 1/√c
};

inline AttentionShape attention_shape(const PackedSequences& sequences, std::int64_t hidden,
                                      std::int64_t heads, const AttentionWork& work) {
  const double size = static_cast<double>(hidden / heads);
  return {work.tiles,
          work.count,
          sequences.global_row,
          static_cast<std::int32_t>(hidden),
          static_cast<std::int32_t>(heads),
          sequences.length_limit,
          static_cast<float>(1 / std::sqrt(size))};
}

/// Blocks to launch: one for each (tile, head) that may exist; those beyond the last tile leave at once.
inline unsigned attention_blocks(const PackedSequences& sequences, std::int64_t heads) {
  return static_cast<unsigned>(attention_tiles_at_most(sequences) * heads);
}

/// A block's part of the batch: 64 rows of a sequence, one head. Heads go fastest, so that blocks of one
/// sequence run at the same time.
struct HeadTile {
  std::int64_t first;   ///< first token of the sequence
  std::int32_t length;  ///< of the sequence
  std::int32_t row;     ///< first row of the tile in the sequence
  std::int32_t rows;    ///< 1 … 64
  std::int32_t head;
};

/// False where the block has nothing to do.
__device__ inline bool find_head_tile(const AttentionShape& shape, HeadTile& at) {
  const std::int32_t tile = static_cast<std::int32_t>(blockIdx.x) / shape.heads;
  if (tile >= *shape.tile_count) return false;
  const AttentionTile found = shape.tiles[tile];
  at.first = found.first;
  at.length = found.length;
  at.row = found.row;
  at.rows = min(kAttentionTile, found.length - found.row);
  at.head = static_cast<std::int32_t>(blockIdx.x) % shape.heads;
  return true;
}

/// First Philox block of the dropout mask of (token, head).
__device__ inline std::uint64_t first_mask_block(const AttentionShape& shape, std::int64_t token, int head) {
  return first_dropout_block(shape.global_row[token] * shape.heads + head, shape.mask_width);
}

}  // namespace toller
