// Byte-level byte-pair encoding as GPT-2, RoBERTa, ModernBERT and Qwen have it: text is divided into words by
// a regular expression, and the bytes of a word are merged into pieces. Ids equal those of the `tokenizers`
// library.
#pragma once

#include <array>

#include "text/bpe_merges.h"
#include "text/byte_level_words.h"
#include "text/piece_table.h"
#include "text/piece_trie.h"

namespace toller {

/// All that a tokenizer.json says of such a tokenizer. In its pieces a character stands for each byte.
struct ByteLevelBpeSettings {
  Vocabulary vocabulary;
  std::vector<std::pair<std::string, std::string>> merges;
  std::string unknown;         ///< piece for a byte that has none; empty: there is none, the byte is left out
  bool ignore_merges = false;  ///< a word that is a piece is that piece, whatever the merges make of it
  bool compose = false;        ///< normalisation form C
  bool prefix_space = false;   ///< a blank before a text, and before what follows an added token
  WordPattern words = WordPattern::kGpt2;
  TokenizerFrame frame;
};

class ByteLevelBpe final : public SubwordModel {
 public:
  /// Errors as of PieceTable; an unknown token, or the parts or the result of a merge, not in the vocabulary.
  ByteLevelBpe(ByteLevelBpeSettings settings, const std::string& origin);

  SpecialTokens special() const override { return special_; }
  std::int32_t vocabulary_size() const override { return table_.size(); }
  const std::string& bytes() const override { return bytes_; }
  void encode(std::string_view text, std::size_t limit, std::vector<std::int32_t>& tokens) const override;
  std::string decode(std::span<const std::int32_t> tokens) const override;

 private:
  /// Memory that the words of a text use, one after the other.
  struct Work {
    BpeMerges::Work merging;
    std::vector<std::int32_t> pieces;
    std::string prefixed;
  };

  void find_bytes();
  Vocabulary find_whole_words() const;
  void encode_words(std::string_view text, std::size_t end, Work& work,
                    std::vector<std::int32_t>& tokens) const;
  void merge_bytes(std::string_view word, Work& work, std::vector<std::int32_t>& tokens) const;

  ByteLevelBpeSettings settings_;
  PieceTable table_;
  SpecialTokens special_;
  BpeMerges merges_;
  std::array<std::int32_t, 256> ids_of_bytes_;  ///< −1: the byte is left out
  PieceTrie whole_words_{{}};                   ///< words, as they stand in texts, that are a single piece
  std::string bytes_;
};

}  // namespace toller
