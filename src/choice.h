// Words that the user chooses among.
#pragma once

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "error.h"

namespace toller {

/// UsageError that names what was to be chosen ("--device", "pooling"), what was given and what there is.
template <class Words>
[[noreturn]] void fail_unknown(const std::string& what, const std::string& given, const Words& known) {
  fail_usage("{} '{}' is unknown; choose {}", what, given, fmt::join(known, ", "));
}

/// fail_unknown() unless `given` is one of the words.
inline void require_choice(const std::string& what, const std::string& given,
                           std::initializer_list<const char*> words) {
  if (std::ranges::find(words, given) == words.end()) fail_unknown(what, given, words);
}

/// What the word `given` stands for; fail_unknown() if it is none of the words.
template <class E, std::size_t n>
E value_of_word(const std::string& what, const std::string& given,
                const std::array<std::pair<E, const char*>, n>& words) {
  std::vector<const char*> known;
  for (const auto& [value, word] : words) {
    if (given == word) return value;
    known.push_back(word);
  }
  fail_unknown(what, given, known);
}

/// The other way: the word for `value`.
template <class E, std::size_t n>
std::string name_of_value(const std::string& what, E value,
                          const std::array<std::pair<E, const char*>, n>& words) {
  for (const auto& [known, word] : words) {
    if (known == value) return word;
  }
  fail("{} {} has no name", what, static_cast<int>(value));
}

}  // namespace toller
