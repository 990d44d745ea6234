#include "text/added_tokens.h"

#include <unicode/uchar.h>

#include <algorithm>

#include "text/unicode.h"

namespace toller {
namespace {

/// What \w matches: letters, marks, decimal digits, connecting punctuation, joiners.
bool is_word_character(char32_t code_point) {
  const auto character = static_cast<UChar32>(code_point);
  return u_hasBinaryProperty(character, UCHAR_ALPHABETIC) != 0 ||
         (U_MASK(u_charType(character)) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0 ||
         u_hasBinaryProperty(character, UCHAR_JOIN_CONTROL) != 0;
}

std::map<std::string, std::int32_t> numbered(const AddedTokenSearch::Patterns& patterns) {
  std::map<std::string, std::int32_t> numbers;
  for (const auto& entry : patterns) {
    numbers.emplace_hint(numbers.end(), entry.first, static_cast<std::int32_t>(numbers.size()));
  }
  return numbers;
}

}  // namespace

AddedTokenSearch::AddedTokenSearch(const Patterns& patterns) : trie_(numbered(patterns)) {
  for (const auto& entry : patterns) tokens_.push_back(entry.second);
}

bool AddedTokenSearch::is_ambiguous(const Patterns& patterns) {
  const auto begins_with_space = [](const auto& entry) {
    std::size_t begin = 0;
    return is_space(next_character(entry.first, begin));
  };
  return std::ranges::any_of(patterns, [](const auto& entry) { return entry.second.rstrip; }) &&
         std::ranges::any_of(patterns, begins_with_space);
}

PieceTrie::Match AddedTokenSearch::find(std::string_view text, std::size_t& position) const {
  for (; position < text.size(); ++position) {
    const PieceTrie::Match match = trie_.longest(PieceTrie::kRoot, text.substr(position));
    if (match.id >= 0) return match;
  }
  return {};
}

bool AddedTokenSearch::touches_word(std::string_view text, std::size_t first, std::size_t last) {
  return (first > 0 && is_word_character(previous_character(text, first))) ||
         (last < text.size() && is_word_character(next_character(text, last)));
}

AddedTokenSearch::Span AddedTokenSearch::widen(std::string_view text, std::size_t first, std::size_t last,
                                               std::size_t taken, const AddedToken& token) {
  Span span{first, last};
  while (token.lstrip && first > taken && is_space(previous_character(text, first))) span.first = first;
  while (token.rstrip && last < text.size() && is_space(next_character(text, last))) span.last = last;
  return span;
}

}  // namespace toller
