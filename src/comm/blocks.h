// The division of an array into one block a rank, as all_gather and reduce_scatter_sum take it.
#pragma once

#include <cstdint>
#include <numeric>
#include <span>

#include "error.h"

namespace toller {

/// Σ counts. Throws Error unless there is one count a rank and none negative.
inline std::int64_t total_count(std::span<const std::int64_t> counts, int size, const char* operation) {
  if (counts.size() != static_cast<std::size_t>(size)) {
    fail("{}: {} counts for {} ranks", operation, counts.size(), size);
  }
  std::int64_t total = 0;
  for (const std::int64_t count : counts) {
    if (count < 0) fail("{}: the count {} is negative", operation, count);
    total += count;
  }
  return total;
}

/// Where a rank's block begins.
inline std::int64_t block_offset(std::span<const std::int64_t> counts, int rank) {
  return std::accumulate(counts.begin(), counts.begin() + rank, std::int64_t{0});
}

/// Throws Error unless there is one count a rank, none negative, `local` of them on this rank and `all` in
/// total.
inline void check_blocks(std::span<const std::int64_t> counts, int rank, int size, std::size_t local,
                         std::size_t all, const char* operation) {
  const auto total = static_cast<std::size_t>(total_count(counts, size, operation));
  const auto own = static_cast<std::size_t>(counts[static_cast<std::size_t>(rank)]);
  if (own != local || total != all) {
    fail("{}: rank {} holds {} of {} elements, but the counts say {} of {}", operation, rank, local, all, own,
         total);
  }
}

}  // namespace toller
