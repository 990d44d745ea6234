// "did you mean …?": the nearest of the known names to a mistyped one.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace toller {

/// The candidate that `word` is most likely a slip of: one that `word` abbreviates, else the one at the
/// smallest edit distance (insert, delete, replace, swap of neighbours), if that is at most a third of the
/// word (and 3). Empty if none.
std::string nearest_name(std::string_view word, std::span<const std::string> candidates);

}  // namespace toller
