#include <algorithm>

#include "cuda/embedding.cuh"

namespace toller {

/// Sorts by counting: a step's tokens are sorted while the GPU waits for the next step, or nearly so.
RowSegments make_row_segments(std::span<const std::int32_t> keys) {
  RowSegments segments;
  const std::int32_t last = keys.empty() ? -1 : *std::ranges::max_element(keys);
  std::vector<std::int32_t> place(static_cast<std::size_t>(last + 2), 0);  // of a key's next row in `order`
  for (const std::int32_t key : keys) ++place[static_cast<std::size_t>(key + 1)];
  for (std::int32_t key = 0; key <= last; ++key) {
    if (place[key + 1] > 0) {
      segments.key.push_back(key);
      segments.begin.push_back(place[key]);
    }
    place[key + 1] += place[key];
  }
  segments.begin.push_back(static_cast<std::int32_t>(keys.size()));
  segments.order.resize(keys.size());
  for (std::size_t row = 0; row < keys.size(); ++row) {
    segments.order[static_cast<std::size_t>(place[keys[row]]++)] = static_cast<std::int32_t>(row);
  }
  return segments;
}

}  // namespace toller
