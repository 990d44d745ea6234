#include <algorithm>
#include <numeric>

#include "cuda/embedding.cuh"

namespace toller {

RowSegments make_row_segments(std::span<const std::int32_t> keys) {
  RowSegments segments;
  segments.order.resize(keys.size());
  std::iota(segments.order.begin(), segments.order.end(), 0);
  std::stable_sort(segments.order.begin(), segments.order.end(),
                   [&](std::int32_t a, std::int32_t b) { return keys[a] < keys[b]; });
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::int32_t key = keys[segments.order[i]];
    if (!segments.key.empty() && segments.key.back() == key) continue;
    segments.key.push_back(key);
    segments.begin.push_back(static_cast<std::int32_t>(i));
  }
  segments.begin.push_back(static_cast<std::int32_t>(keys.size()));
  return segments;
}

}  // namespace toller
