// Tokens that are looked for in a text before it is divided into words, as the `tokenizers` library does with
// its added tokens: [CLS] written in a text becomes the token.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "text/piece_trie.h"

namespace toller {

struct AddedToken {
  std::int32_t id = -1;
  std::string content;
  bool single_word = false;  ///< not where a letter or digit (of ICU's Unicode version) touches it
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< and after it
  bool normalized = false;   ///< looked for, normalised itself, in the normalised text
  bool special = false;      ///< left out when tokens become text

  bool operator==(const AddedToken&) const = default;
};

/// Finds tokens in text: the leftmost, of those the longest, then on from its end.
class AddedTokenSearch {
 public:
  /// Tokens by the text that is looked for, which is not empty.
  using Patterns = std::map<std::string, AddedToken>;

  explicit AddedTokenSearch(const Patterns& patterns);

  /// Whether a token begins with the white space that one may take after it (rstrip). The library fails on
  /// texts where the two meet.
  static bool is_ambiguous(const Patterns& patterns);

  /// Calls on_token(id) and on_text(view) in the order of the text; no view is empty. They return false to
  /// stop. `text` must be well-formed UTF-8.
  template <class OnText, class OnToken>
  void split(std::string_view text, OnText on_text, OnToken on_token) const {
    std::size_t begin = 0;
    for (std::size_t position = 0; position < text.size();) {
      const PieceTrie::Match found = find(text, position);
      if (found.id < 0) break;
      const AddedToken& token = tokens_[found.id];
      const std::size_t match = position;
      position += found.length;
      if (token.single_word && touches_word(text, match, position)) continue;
      const Span span = widen(text, match, position, begin, token);
      if (begin < span.first && !on_text(text.substr(begin, span.first - begin))) return;
      if (!on_token(token.id)) return;
      begin = span.last;
    }
    if (begin < text.size()) on_text(text.substr(begin));
  }

 private:
  struct Span {
    std::size_t first, last;
  };

  /// The first match at or after `position`, which moves there; id: place in tokens_, −1: none.
  PieceTrie::Match find(std::string_view text, std::size_t& position) const;
  static bool touches_word(std::string_view text, std::size_t first, std::size_t last);
  static Span widen(std::string_view text, std::size_t first, std::size_t last, std::size_t taken,
                    const AddedToken& token);

  std::vector<AddedToken> tokens_;
  PieceTrie trie_;
};

}  // namespace toller
