// The pieces of a model with its added and special tokens, and how a text is divided at the added tokens, as
// the `tokenizers` library does it around every kind of model.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/subword_model.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"

namespace toller {

class PieceTable {
 public:
  /// `normalize` is for the patterns of added tokens that are looked for in normalised text. Errors, which
  /// name `origin`: an id twice or out of range, an added token that is empty, stands there twice or has
  /// another id than the library gives it, a special token that is no piece.
  PieceTable(const Vocabulary& vocabulary, const TokenizerFrame& frame,
             const std::function<std::string(std::string_view)>& normalize, std::string origin);

  /// One more than the largest id.
  std::int32_t size() const { return static_cast<std::int32_t>(pieces_.size()); }
  /// Without the unknown token.
  const SpecialTokens& special() const { return special_; }
  const std::string& piece(std::int32_t id) const { return pieces_[id]; }
  /// Whether it is left out when tokens become text.
  bool is_left_out(std::int32_t id) const { return left_out_[id]; }

  /// SubwordModel::encode. `normalize(part, buffer)` gives a view of the normalised part, which may lie in
  /// the buffer. `encode_part(part, end, tokens)` appends the tokens of a part that is not empty, and may
  /// stop when there are `end` or more.
  template <class Normalize, class EncodePart>
  void encode(std::string_view text, std::size_t limit, std::vector<std::int32_t>& tokens,
              Normalize normalize, EncodePart encode_part) const {
    const std::size_t end = tokens.size() + limit;
    std::string replaced, buffer;
    if (find_invalid_utf8(text) >= 0) text = replaced = replace_invalid_utf8(text);
    const auto append = [&](std::int32_t id) {
      tokens.push_back(id);
      return tokens.size() < end;
    };
    const auto encode_normalized = [&](std::string_view part) {
      encode_part(part, end, tokens);
      return tokens.size() < end;
    };
    in_text_.split(
        text,
        [&](std::string_view part) {
          in_normalized_.split(normalize(part, buffer), encode_normalized, append);
          return tokens.size() < end;
        },
        append);
    if (tokens.size() > end) tokens.resize(end);
  }

 private:
  void add_piece(const std::string& piece, std::int32_t id);
  /// Patterns of one of the two searches: in texts as they are, or in normalised ones.
  AddedTokenSearch::Patterns patterns_of(const std::vector<AddedToken>& tokens, bool normalized,
                                         const std::function<std::string(std::string_view)>& normalize) const;

  std::string origin_;
  AddedTokenSearch in_text_, in_normalized_;
  std::vector<std::string> pieces_;  ///< by id; empty where an id has no piece
  std::vector<bool> left_out_;
  SpecialTokens special_;
};

}  // namespace toller
