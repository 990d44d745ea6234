// Dropout masks on the device, the same bits as device/cpu/dropout.h: columns go in groups of 64, and the
// four words of the Philox block (row · ⌈width / 64⌉ + group) · 16 + l are for the columns 64 · group + l, +
// 16, + 32 and + 48. A thread that takes all four of these columns draws one block for them: ten rounds of
// two 32-bit products with 64-bit results and four exclusive-ors, about 25 integer operations an element.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>

#include "device/ops.h"
#include "random.h"

namespace toller {

/// A place of dropout in the form that kernels take.
struct DropoutMask {
  bool active = false;
  float keep = 1;               ///< scale of what stays
  std::uint32_t threshold = 0;  ///< a word below it drops its element
  std::uint32_t key0 = 0, key1 = 0, step = 0, stream = 0;
};

inline DropoutMask make_dropout_mask(const Dropout& dropout) {
  return {.active = dropout.rate > 0,
          .keep = static_cast<float>(1.0 / (1.0 - dropout.rate)),
          .threshold = static_cast<std::uint32_t>(std::lround(dropout.rate * 0x1.0p32)),
          .key0 = static_cast<std::uint32_t>(dropout.seed),
          .key1 = static_cast<std::uint32_t>(dropout.seed >> 32),
          .step = dropout.step,
          .stream = static_cast<std::uint32_t>(RandomStream::kDropout) | (dropout.site << 8)};
}

/// The block of a mask at `index`. The rounds of random.h once more: called from there, ptxas orders them
/// otherwise and spills in the attention forward kernel of head size 64, which has no register to spare.
__device__ __forceinline__ uint4 philox_block(const DropoutMask& mask, std::uint64_t index) {
  std::uint32_t c0 = static_cast<std::uint32_t>(index), c1 = static_cast<std::uint32_t>(index >> 32);
  std::uint32_t c2 = mask.step, c3 = mask.stream, k0 = mask.key0, k1 = mask.key1;
#pragma unroll
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
  return make_uint4(c0, c1, c2, c3);
}

/// First block of a row whose masks are `width` columns wide.
__device__ __forceinline__ std::uint64_t first_dropout_block(std::int64_t row, std::int64_t width) {
  return static_cast<std::uint64_t>(row * ((width + 63) / 64) * 16);
}

/// scale [4] of the columns 64 · group + l, + 16, + 32 and + 48, where block = first + 16 · group + l.
__device__ __forceinline__ void dropout_scales(const DropoutMask& mask, std::uint64_t block,
                                               float (&scale)[4]) {
  const uint4 words = philox_block(mask, block);
  scale[0] = words.x < mask.threshold ? 0.0f : mask.keep;
  scale[1] = words.y < mask.threshold ? 0.0f : mask.keep;
  scale[2] = words.z < mask.threshold ? 0.0f : mask.keep;
  scale[3] = words.w < mask.threshold ? 0.0f : mask.keep;
}

/// The scale of one element; draws a block for it.
__device__ __forceinline__ float dropout_scale(const DropoutMask& mask, std::uint64_t first, int column) {
  float scale[4];
  dropout_scales(mask, first + static_cast<std::uint64_t>(column / 64 * 16 + column % 16), scale);
  const int word = column % 64 / 16;
  return word < 2 ? (word == 0 ? scale[0] : scale[1]) : (word == 2 ? scale[2] : scale[3]);
}

}  // namespace toller
