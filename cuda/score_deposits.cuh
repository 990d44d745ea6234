// Where a score lies on a grid, and Lagrange's weights of degree 5 at the six points around it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "device/score_ops.h"

namespace toller {

inline constexpr int kGridWeights = 6;

/// There is a grid: its inverse_step is not NaN.
__device__ __forceinline__ bool is_laid(const ScoreGrid& grid) {
  return grid.inverse_step == grid.inverse_step;
}

/// What a kernel takes of a ScoreGrid for scores in float. The step is a power of two: s · inverse_step and
/// what is left of it above its floor are exact.
struct FloatGrid {
  float inverse_step, shift, last;

  __device__ __forceinline__ explicit FloatGrid(const ScoreGrid& grid)
      : inverse_step(static_cast<float>(grid.inverse_step)),
        shift(static_cast<float>(-2 - grid.origin)),
        last(static_cast<float>(grid.points - kGridWeights)) {}
};

/// Returns the first of a finite score's six points. The bound |s| ≤ largest_score leaves room for rounding;
/// memory is safe in any case.
__device__ __forceinline__ int place_score(const FloatGrid& grid, float score, float weight[kGridWeights]) {
  const float at = score * grid.inverse_step, floor = floorf(at), t = at - floor;
  const float a = t + 2, b = t + 1, d = t - 1, e = t - 2, f = t - 3;
  const float def = d * e * f, abt = a * b * t;
  weight[0] = b * t * def * (-1.0f / 120);
  weight[1] = a * t * def * (1.0f / 24);
  weight[2] = a * b * def * (-1.0f / 12);
  weight[3] = abt * e * f * (1.0f / 12);
  weight[4] = abt * d * f * (-1.0f / 24);
  weight[5] = abt * d * e * (1.0f / 120);
  return static_cast<int>(fminf(fmaxf(floor + grid.shift, 0.0f), grid.last));
}

}  // namespace toller
