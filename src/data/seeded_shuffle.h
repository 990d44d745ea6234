// An order that depends on the seed and the epoch alone.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "random.h"

namespace toller {

/// Fisher and Yates, with the stream's numbers for that epoch.
template <class Element>
void seeded_shuffle(std::vector<Element>& elements, std::uint64_t seed, RandomStream stream,
                    std::int64_t epoch) {
  for (std::uint64_t i = elements.size() - 1; i > 0; --i) {
    const PhiloxBlock bits = random_block(seed, stream, i, static_cast<std::uint32_t>(epoch));
    std::swap(elements[i], elements[uniform_below(bits[0], bits[1], i + 1)]);
  }
}

}  // namespace toller
