#include "text/byte_level_words.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "text/character_range.h"
#include "text/character_table.h"
#include "text/unicode.h"

namespace toller {
namespace {

enum class Kind : std::uint8_t { kOther, kLetter, kNumber, kSpace };

constexpr int kUnicodeVersion = 16;

/// Letters and numbers of Unicode 15 and 16, which ICU may be too old to know.
constexpr CharacterRange kYoungLetters[] = {
    {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},   {0x105C0, 0x105F3}, {0x10D4A, 0x10D65},
    {0x10D6F, 0x10D85}, {0x10EC2, 0x10EC4}, {0x1123F, 0x11240}, {0x11380, 0x11389}, {0x1138B, 0x1138B},
    {0x1138E, 0x1138E}, {0x11390, 0x113B5}, {0x113B7, 0x113B7}, {0x113D1, 0x113D1}, {0x113D3, 0x113D3},
    {0x11BC0, 0x11BE0}, {0x11F02, 0x11F02}, {0x11F04, 0x11F10}, {0x11F12, 0x11F33}, {0x1342F, 0x1342F},
    {0x13441, 0x13446}, {0x13460, 0x143FA}, {0x16100, 0x1611D}, {0x16D40, 0x16D6C}, {0x18CFF, 0x18CFF},
    {0x1B132, 0x1B132}, {0x1B155, 0x1B155}, {0x1DF25, 0x1DF2A}, {0x1E030, 0x1E06D}, {0x1E4D0, 0x1E4EB},
    {0x1E5D0, 0x1E5ED}, {0x1E5F0, 0x1E5F0}, {0x2B739, 0x2B739}, {0x2EBF0, 0x2EE5D}, {0x31350, 0x323AF}};
constexpr CharacterRange kYoungNumbers[] = {
    {0x10D40, 0x10D49}, {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9}, {0x11F50, 0x11F59}, {0x16130, 0x16139},
    {0x16D70, 0x16D79}, {0x1CCF0, 0x1CCF9}, {0x1D2C0, 0x1D2D3}, {0x1E4F0, 0x1E4F9}, {0x1E5F1, 0x1E5FA}};

Kind find_kind(char32_t character) {
  if (is_in(character, kYoungLetters)) return Kind::kLetter;
  if (is_in(character, kYoungNumbers)) return Kind::kNumber;
  if (is_space(character)) return Kind::kSpace;
  UVersionInfo age;
  u_charAge(static_cast<UChar32>(character), age);
  if (age[0] > kUnicodeVersion) return Kind::kOther;
  const std::uint32_t category = U_MASK(u_charType(static_cast<UChar32>(character)));
  if ((category & U_GC_L_MASK) != 0) return Kind::kLetter;
  return (category & U_GC_N_MASK) != 0 ? Kind::kNumber : Kind::kOther;
}

Kind kind_of(char32_t character) {
  return look_up<find_kind>(character);
}

/// The kind of the character at `position`, which moves behind it.
Kind next_kind(std::string_view text, std::size_t& position) {
  return kind_of(next_character(text, position));
}

/// Where the characters of a kind that lie at `position` end.
std::size_t end_of_run(std::string_view text, std::size_t position, Kind kind) {
  for (std::size_t next = position; next < text.size(); position = next) {
    if (next_kind(text, next) != kind) return position;
  }
  return text.size();
}

/// \s+(?!\S)|\s+ : white space but for its last character, which may belong to a word.
std::size_t end_of_space(std::string_view text, std::size_t begin, std::size_t end_of_run) {
  if (end_of_run == text.size()) return end_of_run;
  std::size_t last = end_of_run;
  previous_character(text, last);
  return last > begin ? last : end_of_run;
}

/// The length of one of these at the beginning of `text`, whose ASCII letters are small; 0: of none.
std::size_t match_contraction(std::string_view text) {
  for (const std::string_view ending : {"s", "t", "re", "ve", "m", "ll", "d"}) {
    if (text.starts_with(ending)) return ending.size();
  }
  return 0;
}

/// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
std::size_t end_of_gpt2_word(std::string_view text, std::size_t begin) {
  if (text[begin] == '\'') {
    if (const std::size_t length = match_contraction(text.substr(begin + 1)); length > 0)
      return begin + 1 + length;
  }
  const std::size_t start = begin + (text[begin] == ' ' && begin + 1 < text.size() ? 1 : 0);
  std::size_t next = start;
  const Kind kind = next_kind(text, next);
  if (kind != Kind::kSpace) return end_of_run(text, next, kind);
  return end_of_space(text, begin, end_of_run(text, next, Kind::kSpace));
}

/// (?i:'s|'t|'re|'ve|'m|'ll|'d); the long s is another case of s.
std::size_t match_any_case_contraction(std::string_view text) {
  constexpr std::string_view kLongS = "\u017F";
  if (text.starts_with(kLongS)) return kLongS.size();
  char small[2];
  const std::size_t size = std::min(text.size(), sizeof small);
  for (std::size_t i = 0; i < size; ++i) {
    small[i] = text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] + ('a' - 'A')) : text[i];
  }
  return match_contraction({small, size});
}

bool is_line_end(char character) {
  return character == '\r' || character == '\n';
}

/// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|
/// ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
std::size_t end_of_qwen2_word(std::string_view text, std::size_t begin) {
  if (text[begin] == '\'') {
    if (const std::size_t length = match_any_case_contraction(text.substr(begin + 1)); length > 0)
      return begin + 1 + length;
  }
  std::size_t second = begin;
  const Kind kind = next_kind(text, second);
  if (kind == Kind::kLetter) return end_of_run(text, second, Kind::kLetter);
  if (kind == Kind::kNumber) return second;
  std::size_t third = second;
  const Kind kind_of_second = second < text.size() ? next_kind(text, third) : Kind::kSpace;
  if (!is_line_end(text[begin]) && kind_of_second == Kind::kLetter)
    return end_of_run(text, third, Kind::kLetter);
  if (kind == Kind::kOther || (text[begin] == ' ' && kind_of_second == Kind::kOther)) {
    std::size_t end = end_of_run(text, second, Kind::kOther);
    while (end < text.size() && is_line_end(text[end])) ++end;
    return end;
  }
  const std::size_t end = end_of_run(text, second, Kind::kSpace);
  for (std::size_t last = end; last > begin; --last) {
    if (is_line_end(text[last - 1])) return last;
  }
  return end_of_space(text, begin, end);
}

}  // namespace

std::string_view regular_expression(WordPattern pattern) {
  return pattern == WordPattern::kGpt2
             ? R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"
             : R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
               R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
}

std::size_t end_of_word(WordPattern pattern, std::string_view text, std::size_t begin) {
  return pattern == WordPattern::kGpt2 ? end_of_gpt2_word(text, begin) : end_of_qwen2_word(text, begin);
}

}  // namespace toller
