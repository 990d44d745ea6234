// Dropout masks on the CPU: scales of a row, recomputed wherever they are needed.
//
// Columns go in groups of 64. Lane l of group g has the Philox block (row · ⌈width / 64⌉ + g) · 16 + l, and
// its four words are for the columns 64 g + l, + 16, + 32 and + 48. `row` counts over the batch of all ranks;
// `width` is the same on all.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "device/ops.h"
#include "random.h"

namespace toller {

/// scale [count] = 0 with probability rate, else 1 / (1 − rate).
template <class T>
void dropout_scales(const Dropout& dropout, std::int64_t row, std::int64_t width, std::int64_t count,
                    T* scale) {
  constexpr std::int64_t kLanes = 16, kGroup = 4 * kLanes;
  const auto threshold = static_cast<std::uint32_t>(std::lround(dropout.rate * 0x1.0p32));
  const T keep = static_cast<T>(1.0 / (1.0 - dropout.rate));
  const std::uint64_t first = static_cast<std::uint64_t>(row * ((width + kGroup - 1) / kGroup) * kLanes);
  const std::uint32_t stream = static_cast<std::uint32_t>(RandomStream::kDropout) | (dropout.site << 8);
  const auto key0 = static_cast<std::uint32_t>(dropout.seed);
  const auto key1 = static_cast<std::uint32_t>(dropout.seed >> 32);
  for (std::int64_t begin = 0; begin < count; begin += kGroup) {
    T group[4][kLanes];
    const std::uint64_t block = first + static_cast<std::uint64_t>(begin / 4);
    // The lanes' ten rounds run side by side on whole vectors.
#pragma omp simd
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const std::uint64_t index = block + static_cast<std::uint64_t>(lane);
      std::uint32_t c0 = static_cast<std::uint32_t>(index), c1 = static_cast<std::uint32_t>(index >> 32);
      std::uint32_t c2 = dropout.step, c3 = stream;
      philox4x32_rounds(c0, c1, c2, c3, key0, key1);
      group[0][lane] = c0 < threshold ? T{0} : keep;
      group[1][lane] = c1 < threshold ? T{0} : keep;
      group[2][lane] = c2 < threshold ? T{0} : keep;
      group[3][lane] = c3 < threshold ? T{0} : keep;
    }
    std::copy_n(&group[0][0], std::min(kGroup, count - begin), scale + begin);
  }
}

}  // namespace toller
