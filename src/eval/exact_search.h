// Exact nearest-neighbour search: every document is scored, the best k stay.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "eval/scorer.h"

namespace toller {

struct Hit {
  std::int32_t document = 0;  ///< row
  float score = 0;
};

/// Hits of each query, best first; equal scores by document row, ascending.
using SearchHits = std::vector<std::vector<Hit>>;

/// The best k documents of every query (fewer where there are not so many). excluded[q] is a document row
/// that query q never gets, such as its own text, or −1; an empty span excludes nothing. Ranks share the
/// query blocks; all of them return all hits, and these do not depend on the number of ranks. Memory:
/// O(queries · k) and a block.
SearchHits exact_search(const Scorer& scorer, std::int64_t k, std::span<const std::int32_t> excluded,
                        Communicator& communicator);

}  // namespace toller
