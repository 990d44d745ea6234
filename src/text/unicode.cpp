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
