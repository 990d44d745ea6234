// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011). A number depends only on what it is for (seed, stream, element), never on the order of the calls,
// the number of ranks or the place where a run was resumed.
#pragma once

#include <array>
#include <cstdint>

#include "host_device.h"

namespace toller {

/// What a random number is for. Numbers of different streams are independent.
enum class RandomStream : std::uint32_t {
  kParameterInit = 1,
  kShuffle = 2,
  kSampleDocument = 3,
  kDropout = 4,
  kSplit = 5,
  kRanking = 6,
  kTaskOrder = 7,
  kFusion = 8,
};

using PhiloxBlock = std::array<std::uint32_t, 4>;

/// The ten rounds of Philox4x32, in place: the counter c0 … c3 is encrypted under the key k0, k1. Scalars and
/// an unrolled loop, so that a loop over many counters runs on whole vectors.
TOLLER_HOST_DEVICE inline void philox4x32_rounds(std::uint32_t& c0, std::uint32_t& c1, std::uint32_t& c2,
                                                 std::uint32_t& c3, std::uint32_t k0, std::uint32_t k1) {
#if !defined(__CUDACC__)
#pragma GCC unroll 10
#endif
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
}

inline PhiloxBlock philox4x32(PhiloxBlock counter, std::uint32_t key0, std::uint32_t key1) {
  philox4x32_rounds(counter[0], counter[1], counter[2], counter[3], key0, key1);
  return counter;
}

/// The block of four numbers at `index` of a stream. `substream` tells apart uses of one stream (an epoch, a
/// tensor, a layer and step); both are free 32- and 64-bit values.
inline PhiloxBlock random_block(std::uint64_t seed, RandomStream stream, std::uint64_t index,
                                std::uint32_t substream) {
  const PhiloxBlock counter = {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
                               substream, static_cast<std::uint32_t>(stream)};
  return philox4x32(counter, static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

/// Uniform in (0, 1), never 0 or 1.
TOLLER_HOST_DEVICE inline double uniform_open(std::uint32_t bits) {
  return (bits + 0.5) * 0x1.0p-32;
}

/// Uniform in {0, …, n − 1} from 64 bits (multiply-shift; bias below n · 2⁻⁶⁴).
inline std::uint64_t uniform_below(std::uint32_t high, std::uint32_t low, std::uint64_t n) {
  __extension__ using Wide = unsigned __int128;
  const std::uint64_t bits = (std::uint64_t{high} << 32) | low;
  return static_cast<std::uint64_t>((static_cast<Wide>(bits) * n) >> 64);
}

}  // namespace toller
