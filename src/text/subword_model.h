// What a kind of tokenizer implements: text to pieces and back, without the special tokens around a text.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace toller {

/// Ids of the tokens that mean something to the engine.
struct SpecialTokens {
  std::int32_t pad = -1;      ///< −1: the vocabulary has none (nothing here pads)
  std::int32_t unknown = -1;  ///< what the vocabulary cannot spell; −1: nothing
  std::int32_t begin = -1;    ///< [CLS], first token of every text; −1: there is none
  std::int32_t end = -1;      ///< [SEP], last token of every text

  bool operator==(const SpecialTokens&) const = default;
};

class SubwordModel {
 public:
  virtual ~SubwordModel() = default;

  virtual SpecialTokens special() const = 0;
  /// One more than the largest id.
  virtual std::int32_t vocabulary_size() const = 0;
  /// The serialised model: what Tokenizer::from_bytes takes.
  virtual const std::string& bytes() const = 0;
  /// Appends the pieces of `text` to `tokens`, the first `limit` of them. Thread-safe. Bytes that are not
  /// UTF-8 count as U+FFFD, one for every part that a decoder would replace.
  virtual void encode(std::string_view text, std::size_t limit, std::vector<std::int32_t>& tokens) const = 0;
  /// Text of pieces, all of which lie in the vocabulary and are neither padding nor begin or end.
  virtual std::string decode(std::span<const std::int32_t> tokens) const = 0;
};

}  // namespace toller
