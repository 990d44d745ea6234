// Dropout masks on the CPU: scales of a row, recomputed wherever they are needed.
//
// Element (row, column) takes word column % 4 of the Philox block number row · ⌈width / 4⌉ + column / 4,
// where `row` counts over the batch of all ranks and `width` is the same on all ranks.
#pragma once

#include <cmath>
#include <cstdint>

#include "device/ops.h"
#include "random.h"

namespace toller {

/// scale [count] = 0 with probability rate, else 1 / (1 − rate).
template <class T>
void dropout_scales(const Dropout& dropout, std::int64_t row, std::int64_t width, std::int64_t count,
                    T* scale) {
  const auto threshold = static_cast<std::uint32_t>(std::lround(dropout.rate * 0x1.0p32));
  const T keep = static_cast<T>(1.0 / (1.0 - dropout.rate));
  const std::uint64_t first = static_cast<std::uint64_t>(row) * static_cast<std::uint64_t>((width + 3) / 4);
  const std::uint32_t stream = static_cast<std::uint32_t>(RandomStream::kDropout) | (dropout.site << 8);
  const auto key0 = static_cast<std::uint32_t>(dropout.seed);
  const auto key1 = static_cast<std::uint32_t>(dropout.seed >> 32);
  // Sixteen blocks side by side: the ten rounds run on whole vectors.
  constexpr std::int64_t kLanes = 16;
  for (std::int64_t begin = 0; begin < count; begin += 4 * kLanes) {
    std::uint32_t bits[4][kLanes];
#pragma omp simd
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const std::uint64_t index = first + static_cast<std::uint64_t>(begin / 4 + lane);
      std::uint32_t c0 = static_cast<std::uint32_t>(index), c1 = static_cast<std::uint32_t>(index >> 32);
      std::uint32_t c2 = dropout.step, c3 = stream, k0 = key0, k1 = key1;
#pragma GCC unroll 10
      for (int round = 0; round < 10; ++round) {
        const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * c0;
        const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * c2;
        c0 = static_cast<std::uint32_t>(product1 >> 32) ^ c1 ^ k0;
        c1 = static_cast<std::uint32_t>(product1);
        c2 = static_cast<std::uint32_t>(product0 >> 32) ^ c3 ^ k1;
        c3 = static_cast<std::uint32_t>(product0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
      }
      bits[0][lane] = c0;
      bits[1][lane] = c1;
      bits[2][lane] = c2;
      bits[3][lane] = c3;
    }
    const std::int64_t here = std::min<std::int64_t>(4 * kLanes, count - begin);
    for (std::int64_t i = 0; i < here; ++i) scale[begin + i] = bits[i & 3][i >> 2] < threshold ? T{0} : keep;
  }
}

}  // namespace toller
