// Subword tokenizer with special tokens around a text: WordPiece, byte-level BPE or Unigram of a
// tokenizer.json, or a sentencepiece model.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/subword_model.h"

namespace toller {

class Tokenizer {
 public:
  struct TrainOptions {
    std::int32_t vocabulary_size = 16384;
    bool lower_case = true;                  ///< nmt_nfkc_cf against nmt_nfkc normalisation
    std::int64_t max_sentences = 1'000'000;  ///< of more texts, this many are taken, evenly spaced
    /// Part of the recipe, not a matter of this machine's cores: sums over threads are rounded differently
    /// for another number, and the same texts with the same options are to give the same bytes everywhere.
    int threads = 8;
  };

  /// Trains a Unigram model by sentencepiece, and brings it into the form of a tokenizer.json. Errors: no
  /// text, a vocabulary below the number of characters or above what the texts yield (the message says the
  /// bound).
  static Tokenizer train(const std::vector<std::string>& texts, const TrainOptions& options);

  /// From a file: vocab.txt (of WordPiece; by the name's end, .txt), tokenizer.json, or a sentencepiece
  /// .model that has eos. A vocab.txt says nothing of letter case: a tokenizer_config.json beside it does,
  /// and where there is none, text is put in lower case. `cased` keeps it as it is; an Error with another
  /// kind of file, which holds that itself.
  static Tokenizer load(const std::string& path, bool cased = false);
  /// A sentencepiece.bpe.model of XLM-RoBERTa, with the ids that the model's weights go by.
  static Tokenizer load_xlm_roberta(const std::string& path);
  /// From bytes as stores and checkpoints embed them: of a .model, or a tokenizer.json that begins with its
  /// brace. `origin` names the source in errors.
  static Tokenizer from_bytes(std::string bytes, const std::string& origin);

  std::int32_t vocabulary_size() const { return model_->vocabulary_size(); }
  SpecialTokens special() const { return model_->special(); }
  /// The serialised model, what `from_bytes` takes: a .model as it was read, or a tokenizer.json that holds
  /// all that was understood of the file, the same for a vocab.txt and a tokenizer.json that say the same.
  const std::string& bytes() const { return model_->bytes(); }

  /// [CLS] pieces… [SEP], or without [CLS] where the tokenizer has none; at most `max_length` ≥ 2 tokens in
  /// all (the tail is cut, [SEP] stays). Thread-safe. Error with a text of more than 256 MiB.
  std::vector<std::int32_t> encode(std::string_view text, std::int32_t max_length) const;
  /// Text of the pieces, special tokens left out.
  std::string decode(const std::vector<std::int32_t>& tokens) const;

 private:
  explicit Tokenizer(std::unique_ptr<const SubwordModel> model) : model_(std::move(model)) {}
  std::unique_ptr<const SubwordModel> model_;
};

/// Whether a serialised tokenizer is a tokenizer.json; otherwise it is a .model.
bool is_tokenizer_json(const std::string& bytes);

/// A serialised tokenizer as a tokenizer.json: as it is, or converted from a .model, of which the library
/// gives the same tokens but for rare texts (PrecompiledNormalizer tells why). Error, beginning with
/// `origin`, if the model has no such form.
std::string as_tokenizer_json(const std::string& bytes, const std::string& origin);

/// Whether two serialised tokenizers are the same: byte by byte, or, of tokenizer.json, in what is understood
/// of them, since another version may write it in another way.
bool is_same_tokenizer(const std::string& one, const std::string& other);

}  // namespace toller
