#include "text/unicode.h"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>

namespace toller {
namespace {

bool is_visible(UChar32 character) {
  return u_isUWhiteSpace(character) == 0 && u_iscntrl(character) == 0 && character != 0x2581 &&
         character != 0xFFFD && u_hasBinaryProperty(character, UCHAR_DEFAULT_IGNORABLE_CODE_POINT) == 0;
}

}  // namespace

std::int64_t find_invalid_utf8(std::string_view text) {
  const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  auto position = static_cast<std::int64_t>(std::ranges::find_if_not(text, is_ascii) - text.begin());
  const auto size = static_cast<std::int64_t>(text.size());
  while (position < size) {
    const std::int64_t start = position;
    UChar32 character;
    U8_NEXT(text.data(), position, size, character);
    if (character < 0) return start;
  }
  return -1;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string replaced;
  replaced.reserve(text.size() + 16);
  const auto size = static_cast<std::int64_t>(text.size());
  for (std::int64_t position = 0; position < size;) {
    UChar32 character;
    U8_NEXT(text.data(), position, size, character);
    append_utf8(character < 0 ? U'\uFFFD' : static_cast<char32_t>(character), replaced);
  }
  return replaced;
}

char32_t next_character(std::string_view text, std::size_t& position) {
  UChar32 character;
  U8_NEXT_UNSAFE(text.data(), position, character);
  return static_cast<char32_t>(character);
}

char32_t previous_character(std::string_view text, std::size_t& position) {
  do --position;
  while (U8_IS_TRAIL(text[position]));
  std::size_t start = position;
  return next_character(text, start);
}

void append_utf8(char32_t character, std::string& text) {
  char bytes[U8_MAX_LENGTH];
  int length = 0;
  U8_APPEND_UNSAFE(bytes, length, static_cast<UChar32>(character));
  text.append(bytes, static_cast<std::size_t>(length));
}

bool is_space(char32_t character) {
  return u_isUWhiteSpace(static_cast<UChar32>(character)) != 0;
}

bool is_blank(std::string_view text) {
  const auto size = static_cast<std::int64_t>(text.size());
  std::int64_t position = 0;
  while (position < size) {
    UChar32 character;
    U8_NEXT(text.data(), position, size, character);
    if (character >= 0 && is_visible(character)) return false;
  }
  return true;
}

}  // namespace toller
