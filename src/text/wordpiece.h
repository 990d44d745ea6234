// WordPiece as BERT has it (Devlin et al., 2019): normalised text is divided at white space and punctuation,
// and a word into the longest pieces of the vocabulary from left to right. Ids equal those of the
// `tokenizers` library, which finds the added tokens ([CLS] and others) in the text as well.
#pragma once

#include "text/bert_normalizer.h"
#include "text/piece_table.h"
#include "text/piece_trie.h"
#include "text/subword_model.h"

namespace toller {

/// All that a tokenizer.json says of a WordPiece tokenizer.
struct WordPieceSettings {
  Vocabulary vocabulary;
  std::string unknown = "[UNK]";
  std::string continuing_prefix = "##";       ///< before the pieces of a word other than its first
  std::int64_t max_characters_of_word = 100;  ///< of a longer word becomes [UNK]
  BertNormalizerOptions normalizer;
  TokenizerFrame frame;
};

class WordPiece final : public SubwordModel {
 public:
  /// Errors as of PieceTable, and an unknown token that is not in the vocabulary.
  WordPiece(WordPieceSettings settings, const std::string& origin);

  SpecialTokens special() const override { return special_; }
  std::int32_t vocabulary_size() const override { return table_.size(); }
  const std::string& bytes() const override { return bytes_; }
  void encode(std::string_view text, std::size_t limit, std::vector<std::int32_t>& tokens) const override;
  std::string decode(std::span<const std::int32_t> tokens) const override;

 private:
  void encode_words(std::string_view text, std::size_t end, std::vector<std::int32_t>& tokens) const;
  void encode_word(std::string_view word, std::vector<std::int32_t>& tokens) const;
  bool is_too_long(std::string_view word) const;

  WordPieceSettings settings_;
  BertNormalizer normalizer_;
  PieceTrie trie_;
  std::int32_t continuation_ = -1;  ///< node of the trie after the prefix; −1: no piece has it
  PieceTable table_;
  SpecialTokens special_;
  std::string bytes_;
};

}  // namespace toller
