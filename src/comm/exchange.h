// What hosts tell each other beside arrays of numbers: words of 64 bits, values as they lie in memory, texts.
// All are collective.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace toller {

/// The words of all ranks, in rank order: counts[r] of them come from rank r.
std::vector<std::uint64_t> gather_words(std::span<const std::uint64_t> own,
                                        std::span<const std::int64_t> counts, Communicator& communicator);

/// The values of `root`, of which the others must have as many.
template <class Value>
void broadcast_values(std::span<Value> values, int root, Communicator& communicator) {
  communicator.broadcast({reinterpret_cast<std::uint8_t*>(values.data()), values.size_bytes()}, root);
}

/// The text of `root`, of any length.
void broadcast_text(std::string& text, int root, Communicator& communicator);

}  // namespace toller
