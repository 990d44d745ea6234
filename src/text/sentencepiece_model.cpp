#include "text/sentencepiece_model.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <regex>
#include <unordered_map>

#include "error.h"
#include "text/unicode.h"

namespace toller {
namespace {

/// Hands texts that are not blank to the trainer: all, or `limit` of them, evenly spaced.
class TrainingTexts final : public sentencepiece::SentenceIterator {
 public:
  TrainingTexts(const std::vector<std::string>& texts, std::size_t limit) {
    for (const std::string& text : texts) {
      if (!is_blank(text)) texts_.push_back(&text);
    }
    count_ = std::min(texts_.size(), limit);
  }
  bool empty() const { return count_ == 0; }

  bool done() const override { return next_ >= count_; }
  void Next() override { ++next_; }
  const std::string& value() const override { return *texts_[next_ * texts_.size() / count_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<const std::string*> texts_;
  std::size_t count_ = 0;
  std::size_t next_ = 0;
};

std::unordered_map<std::string, std::string> trainer_arguments(const Tokenizer::TrainOptions& options) {
  return {
      {"model_type", "unigram"},
      {"vocab_size", std::to_string(options.vocabulary_size)},
      // Not "hard", so that a vocabulary that the texts cannot fill comes back smaller and we can say how
      // large it is.
      {"hard_vocab_limit", "false"},
      {"num_threads", std::to_string(options.threads)},
      {"normalization_rule_name", options.lower_case ? "nmt_nfkc_cf" : "nmt_nfkc"},
      // 0.9995, the default, drops digits and signs of a small alphabet such as that of English.
      {"character_coverage", "0.99995"},
      // Longer texts would be left out silently; the limit costs nothing, because training sees single words.
      {"max_sentence_length", "1000000000"},
      {"pad_id", std::to_string(kSentencePieceSpecials.pad)},
      {"unk_id", std::to_string(kSentencePieceSpecials.unknown)},
      {"bos_id", std::to_string(kSentencePieceSpecials.begin)},
      {"eos_id", std::to_string(kSentencePieceSpecials.end)},
      {"pad_piece", "[PAD]"},
      {"unk_piece", "[UNK]"},
      {"bos_piece", "[CLS]"},
      {"eos_piece", "[SEP]"},
      {"minloglevel", "2"},  // errors only
  };
}

/// Throws what sentencepiece's trainer says ("…] Vocabulary size is smaller than required_chars. 16 vs 39.
/// …"), in terms of our options where it is the known case.
[[noreturn]] void fail_training(const std::string& message, const Tokenizer::TrainOptions& options) {
  static const std::regex too_small("required_chars\\. \\d+ vs (\\d+)");
  std::smatch match;
  if (std::regex_search(message, match, too_small)) {
    fail(
        "tokenizer training: a vocabulary of {} is too small; the characters of these texts need at least {}",
        options.vocabulary_size, match[1].str());
  }
  fail("tokenizer training: {}", message);
}

class SentencePieceModel final : public SubwordModel {
 public:
  SentencePieceModel(std::string bytes, const std::string& origin) : bytes_(std::move(bytes)) {
    if (bytes_.empty()) fail("{}: not a sentencepiece model: no bytes", origin);
    const auto status = processor_.LoadFromSerializedProto(bytes_);
    if (!status.ok()) fail("{}: not a sentencepiece model, or a damaged one", origin);
    special_ = {.pad = processor_.pad_id(),
                .unknown = processor_.unk_id(),
                .begin = processor_.bos_id(),
                .end = processor_.eos_id()};
    if (special_.end < 0) {
      fail("{}: the tokenizer has no piece for the end of a text; train it with one (eos_id)", origin);
    }
  }

  SpecialTokens special() const override { return special_; }
  std::int32_t vocabulary_size() const override { return processor_.GetPieceSize(); }
  const std::string& bytes() const override { return bytes_; }

  void encode(std::string_view text, std::size_t limit, std::vector<std::int32_t>& tokens) const override {
    std::vector<int> pieces;
    const auto status = processor_.Encode(text, &pieces);
    if (!status.ok()) fail("encode: {}", status.message());
    pieces.resize(std::min(pieces.size(), limit));
    tokens.insert(tokens.end(), pieces.begin(), pieces.end());
  }

  std::string decode(std::span<const std::int32_t> tokens) const override {
    std::string text;
    const auto status = processor_.Decode(std::vector<int>(tokens.begin(), tokens.end()), &text);
    if (!status.ok()) fail("decode: {}", status.message());
    return text;
  }

 private:
  std::string bytes_;
  sentencepiece::SentencePieceProcessor processor_;
  SpecialTokens special_;
};

}  // namespace

std::unique_ptr<SubwordModel> read_sentencepiece_model(std::string bytes, const std::string& origin) {
  return std::make_unique<SentencePieceModel>(std::move(bytes), origin);
}

std::string train_sentencepiece_model(const std::vector<std::string>& texts,
                                      const Tokenizer::TrainOptions& options) {
  if (options.vocabulary_size < 5) {
    fail("tokenizer training: vocabulary size {}: at least 5 is needed (4 special tokens)",
         options.vocabulary_size);
  }
  if (options.max_sentences < 1) fail("tokenizer training: max_sentences is {}", options.max_sentences);
  if (options.threads < 1) fail("tokenizer training: threads is {}", options.threads);
  TrainingTexts sample(texts, static_cast<std::size_t>(options.max_sentences));
  // The library ends the process where it finds nothing to train on.
  if (sample.empty()) fail("tokenizer training: there are no texts, or all are empty");
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(trainer_arguments(options), &sample, &model);
  if (!status.ok()) fail_training(status.message(), options);
  return model;
}

}  // namespace toller
