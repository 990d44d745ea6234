// Global norm and AdamW over the flat parameter buffer (Ops::squared_norm, Ops::adamw). Parameters, gradients
// and moments are float; the weights that the step computes with may be a bfloat16 copy, written in the same
// pass. All pointers are device memory but for make_adamw_tiles.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <span>
#include <vector>

#include "cuda/bfloat16.cuh"
#include "device/ops.h"

namespace toller {

/// Doubles of workspace for squared_norm.
std::int64_t squared_norm_workspace(std::int64_t n);

/// result [1] = Σ x², added up in double; the same bits for the same input. Not finite if an element is not.
void squared_norm(std::int64_t n, const float* x, double* result, double* workspace, cudaStream_t stream);

/// A piece of the flat buffer with one weight decay: the work of a block.
struct AdamWTile {
  std::int64_t begin;
  std::int32_t size;
  std::int32_t decay;  ///< 0 or 1: does the weight decay act here
};

std::vector<AdamWTile> make_adamw_tiles(std::span<const DecaySlice> slices);

/// One step on all tiles; `step.weight_decay` acts where a tile says so. The squared norm may be null:
/// no clipping, no check. Where the squared norm is not finite nothing is changed: the host finds out from
/// the norm. `copy` (null: none) gets the new parameters in bfloat16.
void adamw(std::int64_t tiles, const AdamWTile* tile, const float* gradient, const AdamWStep& step,
           const GradientClip& clip, float* parameter, float* m, float* v, bfloat16* copy,
           cudaStream_t stream);

}  // namespace toller
