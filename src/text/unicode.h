// What the engine asks of Unicode text (UTF-8), on ICU.
#pragma once

#include <cstdint>
#include <string_view>

namespace toller {

/// Offset of the first byte that does not belong to a well-formed UTF-8 sequence, or −1.
std::int64_t find_invalid_utf8(std::string_view text);

/// True if there is nothing in `text` to tokenize: only white space, control and invisible characters, and
/// the two that sentencepiece's normalisation turns into blanks (U+2581 and U+FFFD, the replacement of
/// invalid bytes).
bool is_blank(std::string_view text);

}  // namespace toller
