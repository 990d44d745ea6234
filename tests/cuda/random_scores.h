// Scores with everything that kernels of scores must take.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "cuda/device_array.h"

namespace toller {

/// Scores in [−1, 1] in float, most of them near 0, every eleventh −∞.
inline std::vector<double> random_scores(std::int64_t n, unsigned seed) {
  std::vector<double> scores = random_numbers<float>(n, seed);
  for (std::int64_t i = 0; i < n; ++i) {
    scores[i] = i % 5 == 0 ? std::tanh(3 * scores[i]) : std::clamp(scores[i] / 10, -1.0, 1.0);
    if (i % 11 == 3) scores[i] = -std::numeric_limits<double>::infinity();
  }
  scores[0] = 1;
  if (n > 1) scores[1] = -1;
  return rounded<float>(scores);
}

}  // namespace toller
