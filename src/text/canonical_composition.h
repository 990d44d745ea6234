// Unicode's normalisation form C, of Unicode 9.0: that of the `tokenizers` library (0.23), whatever ICU
// knows. Characters that are younger stand for themselves.
#pragma once

#include <string>
#include <string_view>

namespace toller {

/// The composed text, a view of `text` where nothing changes, or of `buffer`. `text` must be well-formed
/// UTF-8.
std::string_view compose_canonically(std::string_view text, std::string& buffer);

}  // namespace toller
