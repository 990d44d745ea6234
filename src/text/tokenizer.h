// Subword tokenizer on the sentencepiece library (unigram model), with BERT's special tokens around a text.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace toller {

class Tokenizer {
 public:
  static constexpr std::int32_t kPad = 0;
  static constexpr std::int32_t kUnknown = 1;
  static constexpr std::int32_t kBegin = 2;  ///< [CLS], first token of every text
  static constexpr std::int32_t kEnd = 3;    ///< [SEP], last token of every text

  struct TrainOptions {
    std::int32_t vocabulary_size = 16384;
    bool lower_case = true;                  ///< nmt_nfkc_cf against nmt_nfkc normalisation
    std::int64_t max_sentences = 1'000'000;  ///< of more texts, this many are taken, evenly spaced
    /// Part of the recipe, not a matter of this machine's cores: sums over threads are rounded differently
    /// for another number, and the same texts with the same options are to give the same bytes everywhere.
    int threads = 8;
  };

  /// Trains a unigram model. Errors: no text, a vocabulary below the number of characters or above what the
  /// texts yield (the message says the bound).
  static Tokenizer train(const std::vector<std::string>& texts, const TrainOptions& options);
  /// From a .model file, or from the bytes of one (as stores and checkpoints embed it); `origin` names the
  /// source in errors. The special tokens must have the ids above.
  static Tokenizer load(const std::string& path);
  static Tokenizer from_bytes(std::string bytes, const std::string& origin);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  std::int32_t vocabulary_size() const;
  /// The serialised model: what `from_bytes` takes.
  const std::string& bytes() const;

  /// [CLS] pieces… [SEP], at most `max_length` ≥ 2 tokens in all (the tail is cut, [SEP] stays). Thread-safe.
  std::vector<std::int32_t> encode(std::string_view text, std::int32_t max_length) const;
  /// Text of the pieces, special tokens left out.
  std::string decode(const std::vector<std::int32_t>& tokens) const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace toller
