// What the engine asks of Unicode text (UTF-8), on ICU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace toller {

/// Offset of the first byte that does not belong to a well-formed UTF-8 sequence, or −1.
std::int64_t find_invalid_utf8(std::string_view text);

/// The text with U+FFFD for every part that is not UTF-8, as decoders replace it: each maximal part that
/// begins a well-formed sequence, and each byte that begins none.
std::string replace_invalid_utf8(std::string_view text);

/// The character at `position`, which moves behind it, or the one before it, to whose start it moves. The
/// text must be well-formed, and there must be one.
char32_t next_character(std::string_view text, std::size_t& position);
char32_t previous_character(std::string_view text, std::size_t& position);

/// Appends a character, which must not be a surrogate.
void append_utf8(char32_t character, std::string& text);

/// Whether the character has Unicode's property White_Space.
bool is_space(char32_t character);

/// True if there is nothing in `text` to tokenize: only white space, control and invisible characters, and
/// the two that sentencepiece's normalisation turns into blanks (U+2581 and U+FFFD, the replacement of
/// invalid bytes).
bool is_blank(std::string_view text);

}  // namespace toller
