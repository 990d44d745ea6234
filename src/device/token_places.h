// Where the tokens of a packed batch stand, for devices that look up position rows.
#pragma once

#include <cstdint>
#include <vector>

#include "device/ops.h"

namespace toller {

/// [tokens]: the position of a token in its sequence. `sequences.offsets` is read here, on the host.
inline std::vector<std::int32_t> token_places(const PackedSequences& sequences) {
  std::vector<std::int32_t> places(static_cast<std::size_t>(sequences.tokens));
  for (std::int64_t s = 0; s < sequences.count; ++s) {
    for (std::int32_t t = sequences.offsets[s]; t < sequences.offsets[s + 1]; ++t) {
      places[t] = t - sequences.offsets[s];
    }
  }
  return places;
}

}  // namespace toller
