// The split of a token store whose query i goes with document i.
#pragma once

#include <cstdint>

#include "data/token_store.h"

namespace toller {

inline void add_pairs(TokenStore& store, std::int32_t pairs) {
  Split& split = store.splits["train"];
  split.name = "train";
  for (std::int32_t row = 0; row < pairs; ++row) {
    split.query.push_back(row);
    split.document.push_back(row);
    split.grade.push_back(1);
    split.offsets.push_back(row + 1);
  }
  store.same_document.assign(static_cast<std::size_t>(pairs), -1);
}

}  // namespace toller
