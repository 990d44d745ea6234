// Unigram models of sentencepiece (Kudo, 2018) in the form of a tokenizer.json, as XLM-RoBERTa and its
// offspring have them. Ids equal those of the `tokenizers` library, which are not always those of
// sentencepiece: the normaliser, sums of scores in double and added tokens are the library's.
#pragma once

#include <memory>
#include <optional>

#include "text/piece_table.h"
#include "text/piece_trie.h"
#include "text/precompiled_normalizer.h"

namespace toller {

/// Stands for a blank in pieces.
inline constexpr const char* kUnigramMark = "\u2581";

/// All that a tokenizer.json says of such a tokenizer.
struct UnigramSettings {
  Vocabulary vocabulary;       ///< ids from 0, without a gap
  std::vector<double> scores;  ///< logarithms of probabilities, by id
  std::int32_t unknown = 0;
  // The normaliser, in this order.
  std::string charsmap;  ///< of PrecompiledNormalizer; empty: none
  bool strip_left = false;
  bool strip_right = false;
  std::optional<std::string> blanks;  ///< what becomes of two blanks and more
  bool split_at_space = false;        ///< words are divided at white space of all kinds, not at blanks alone
  TokenizerFrame frame;
};

class Unigram final : public SubwordModel {
 public:
  /// Errors as of PieceTable and PrecompiledNormalizer, and an unknown token that is no piece.
  Unigram(UnigramSettings settings, const std::string& origin);

  SpecialTokens special() const override { return special_; }
  std::int32_t vocabulary_size() const override { return table_.size(); }
  const std::string& bytes() const override { return bytes_; }
  void encode(std::string_view text, std::size_t limit, std::vector<std::int32_t>& tokens) const override;
  std::string decode(std::span<const std::int32_t> tokens) const override;

 private:
  /// The best way to a place in a word.
  struct Step {
    double score = 0.0;
    std::int32_t start = -1;  ///< where its last piece begins
    std::int32_t id = -1;
  };
  /// Memory that the words of a text use, one after the other.
  struct Work {
    std::string words;
    std::vector<Step> steps;
    std::vector<std::int32_t> tokens;
  };

  std::string normalize(std::string_view text) const;
  void encode_part(std::string_view text, std::size_t end, Work& work,
                   std::vector<std::int32_t>& tokens) const;
  void encode_words(std::string_view text, std::size_t end, Work& work,
                    std::vector<std::int32_t>& tokens) const;
  void encode_word(std::string_view word, Work& work, std::vector<std::int32_t>& tokens) const;
  void find_best_steps(std::string_view word, std::vector<Step>& steps) const;

  UnigramSettings settings_;
  std::unique_ptr<const PrecompiledNormalizer> normalizer_;  ///< null: there is none
  PieceTable table_;
  SpecialTokens special_;
  PieceTrie trie_;
  std::vector<double> scores_;  ///< by id, as the library reads them
  double unknown_score_ = 0.0;
  std::string bytes_;
};

}  // namespace toller
