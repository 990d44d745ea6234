// Ranges of characters, for the tables of properties that a Unicode version has and ICU's may not.
#pragma once

#include <algorithm>
#include <ranges>

namespace toller {

/// From first to last, both among them.
struct CharacterRange {
  char32_t first, last;
};

/// Whether one of the ranges, which ascend, has the character.
template <std::ranges::random_access_range Ranges>
bool is_in(char32_t character, const Ranges& ranges) {
  const auto range = std::ranges::lower_bound(ranges, character, {}, &CharacterRange::last);
  return range != std::ranges::end(ranges) && range->first <= character;
}

}  // namespace toller
