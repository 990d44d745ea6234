#include "text/added_tokens.h"

#include <unicode/uchar.h>

#include <algorithm>
#include <functional>

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

bool is_space(char32_t character) {
  return u_isUWhiteSpace(static_cast<UChar32>(character)) != 0;
}

}  // namespace

void AddedTokenSearch::add(const AddedToken& token, std::string pattern) {
  tokens_.push_back({token, std::move(pattern)});
  std::ranges::stable_sort(tokens_, std::ranges::greater{},
                           [](const Entry& entry) { return entry.pattern.size(); });
  for (auto& entries : first_byte_) entries.clear();
  for (std::uint32_t i = 0; i < tokens_.size(); ++i) {
    first_byte_[static_cast<unsigned char>(tokens_[i].pattern.front())].push_back(i);
  }
}

bool AddedTokenSearch::is_ambiguous() const {
  const auto begins_with_space = [](const Entry& entry) {
    std::size_t begin = 0;
    return is_space(next_character(entry.pattern, begin));
  };
  return std::ranges::any_of(tokens_, [](const Entry& entry) { return entry.token.rstrip; }) &&
         std::ranges::any_of(tokens_, begins_with_space);
}

const AddedTokenSearch::Entry* AddedTokenSearch::find(std::string_view text, std::size_t& position) const {
  for (; position < text.size(); ++position) {
    for (const std::uint32_t i : first_byte_[static_cast<unsigned char>(text[position])]) {
      if (text.substr(position).starts_with(tokens_[i].pattern)) return &tokens_[i];
    }
  }
  return nullptr;
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
