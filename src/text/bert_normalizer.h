// The text normaliser of BERT and the characters that its pre-tokenizer divides text at, bit for bit as the
// `tokenizers` library (0.23, BertNormalizer and BertPreTokenizer) has them.
//
// The characters come from ICU, but not of ICU's Unicode version: the library's tables of categories are
// those of Unicode 8.0, of decompositions and combining classes of Unicode 9.0, its lower case is that of
// Unicode
// 17. Characters that are younger than such a table are plain letters to it. Expected outputs, and models,
// depend on that.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace toller {

enum class BertCharacter : std::uint8_t { kOther, kSpace, kPunctuation };

/// What the pre-tokenizer sees in a character: white space divides words and is dropped, punctuation is a
/// word of its own.
BertCharacter bert_character(char32_t character);

struct BertNormalizerOptions {
  bool clean_text = true;             ///< drop control characters, make all white space blanks
  bool handle_chinese_chars = true;   ///< a blank on both sides of a CJK ideograph
  std::optional<bool> strip_accents;  ///< NFD without nonspacing marks; not given: as lowercase
  bool lowercase = true;

  bool operator==(const BertNormalizerOptions&) const = default;
};

class BertNormalizer {
 public:
  explicit BertNormalizer(const BertNormalizerOptions& options);

  /// `text` must be well-formed UTF-8. Thread-safe.
  std::string normalize(std::string_view text) const;

 private:
  class Output;
  /// What becomes of a character of the Basic Multilingual Plane: the character that replaces it, or a mark.
  using Actions = std::array<std::uint32_t, 0x10000>;

  std::uint32_t action_of(char32_t character) const;

  BertNormalizerOptions options_;
  std::unique_ptr<Actions> actions_;
};

}  // namespace toller
