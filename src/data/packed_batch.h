// Sequences laid one behind the other, as the encoder takes them. No padding.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "device/ops.h"

namespace toller {

class PackedBatch {
 public:
  /// Appends a text, cut to `max_length` tokens (its last token, [SEP], stays last). Its tokens have the
  /// numbers first_global_row, first_global_row + 1, … in the batch of all ranks.
  void add(std::span<const std::int32_t> row, std::int32_t max_length, std::int64_t first_global_row) {
    const auto length = std::min(static_cast<std::int32_t>(row.size()), max_length);
    tokens_.insert(tokens_.end(), row.begin(), row.begin() + length);
    tokens_.back() = row.back();
    for (std::int32_t i = 0; i < length; ++i) global_rows_.push_back(first_global_row + i);
    offsets_.push_back(offsets_.back() + length);
    max_length_ = std::max(max_length_, length);
  }

  void clear() {
    tokens_.clear();
    global_rows_.clear();
    offsets_.assign(1, 0);
    max_length_ = 0;
  }

  /// Valid until the next change. `length_limit`: see PackedSequences.
  PackedSequences sequences(std::int32_t length_limit) const {
    return {.offsets = offsets_.data(),
            .global_row = global_rows_.data(),
            .token = tokens_.data(),
            .count = text_count(),
            .tokens = token_count(),
            .max_length = max_length_,
            .length_limit = length_limit};
  }
  std::int64_t text_count() const { return static_cast<std::int64_t>(offsets_.size()) - 1; }
  std::int64_t token_count() const { return static_cast<std::int64_t>(tokens_.size()); }

 private:
  std::vector<std::int32_t> tokens_, offsets_{0};
  std::vector<std::int64_t> global_rows_;
  std::int32_t max_length_ = 0;
};

}  // namespace toller
