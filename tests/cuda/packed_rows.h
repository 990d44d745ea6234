// A packed batch for the tests of kernels, in host and in device memory.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "cuda/device_array.h"
#include "device/ops.h"

namespace toller {

struct PackedRows {
  explicit PackedRows(const std::vector<std::int32_t>& lengths) {
    offsets.push_back(0);
    for (const std::int32_t length : lengths) {
      for (std::int32_t place = 0; place < length; ++place) places.push_back(place);
      offsets.push_back(offsets.back() + length);
    }
    // Rows that do not lie side by side in the batch of all ranks, some beyond 32 bits.
    for (std::int64_t row = 0; row < offsets.back(); ++row) {
      global_rows.push_back(3 * row + (row % 2 == 0 ? 7 : 5'000'000'000));
    }
    sequences = {.offsets = offsets.data(),
                 .global_row = global_rows.data(),
                 .count = static_cast<std::int64_t>(lengths.size()),
                 .tokens = offsets.back(),
                 .max_length = *std::max_element(lengths.begin(), lengths.end()),
                 .length_limit = std::max(512, *std::max_element(lengths.begin(), lengths.end()))};
  }
  PackedRows(const PackedRows&) = delete;
  PackedRows& operator=(const PackedRows&) = delete;

  std::int64_t rows() const { return sequences.tokens; }

  std::vector<std::int32_t> offsets, places;
  std::vector<std::int64_t> global_rows;
  PackedSequences sequences;  ///< masks are at least 512 columns wide
};

/// Shapes that divide no block, vector or group of 64 columns, and those of models.
struct RowShape {
  std::vector<std::int32_t> lengths;
  std::int64_t hidden;
};
inline const std::vector<RowShape> kRowShapes = {
    {{1}, 1},       {{1}, 64},        {{1, 2, 3}, 12},   {{5, 1, 31}, 100}, {{300, 1}, 24}, {{40, 1, 9}, 384},
    {{17, 2}, 520}, {{7, 4, 1}, 768}, {{3, 1, 1}, 1000}, {{2, 3}, 1030},    {{1, 4}, 1096}, {{2, 1}, 4096}};

/// Calls check(batch, hidden) for every shape, with the threads of a block in both orders.
template <class Check>
void for_row_shapes(Check check) {
  for (const RowShape& shape : kRowShapes) {
    SCOPED_TRACE(testing::Message() << shape.lengths.front() << " rows first, hidden " << shape.hidden);
    const PackedRows batch(shape.lengths);
    in_both_thread_orders([&] { check(batch, shape.hidden); });
  }
}

}  // namespace toller
