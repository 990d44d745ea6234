#include "text/tokenizer.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
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
      {"pad_id", std::to_string(Tokenizer::kPad)},
      {"unk_id", std::to_string(Tokenizer::kUnknown)},
      {"bos_id", std::to_string(Tokenizer::kBegin)},
      {"eos_id", std::to_string(Tokenizer::kEnd)},
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

void require_special_token(std::int32_t found, std::int32_t expected, const char* name,
                           const std::string& origin) {
  if (found == expected) return;
  fail("{}: the tokenizer has {} at id {}, expected {}; train it with pad 0, unk 1, bos 2, eos 3", origin,
       name, found, expected);
}

}  // namespace

struct Tokenizer::Impl {
  std::string bytes;
  sentencepiece::SentencePieceProcessor processor;
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::train(const std::vector<std::string>& texts, const TrainOptions& options) {
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
  Tokenizer tokenizer = from_bytes(std::move(model), "the trained tokenizer");
  if (tokenizer.vocabulary_size() < options.vocabulary_size) {
    fail("tokenizer training: a vocabulary of {} is too large for these texts; the largest possible is {}",
         options.vocabulary_size, tokenizer.vocabulary_size());
  }
  return tokenizer;
}

Tokenizer Tokenizer::load(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) fail("{}: is a folder, expected a tokenizer", path);
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("{}: cannot open the tokenizer: {}", path, std::strerror(errno));
  std::ostringstream bytes;
  bytes << file.rdbuf();
  if (!file || !bytes) fail("{}: not a sentencepiece model: the file is empty or cannot be read", path);
  return from_bytes(std::move(bytes).str(), path);
}

Tokenizer Tokenizer::from_bytes(std::string bytes, const std::string& origin) {
  auto impl = std::make_unique<Impl>();
  impl->bytes = std::move(bytes);
  if (impl->bytes.empty()) fail("{}: not a sentencepiece model: no bytes", origin);
  const auto status = impl->processor.LoadFromSerializedProto(impl->bytes);
  if (!status.ok()) fail("{}: not a sentencepiece model, or a damaged one", origin);
  require_special_token(impl->processor.pad_id(), kPad, "pad", origin);
  require_special_token(impl->processor.unk_id(), kUnknown, "unk", origin);
  require_special_token(impl->processor.bos_id(), kBegin, "bos", origin);
  require_special_token(impl->processor.eos_id(), kEnd, "eos", origin);
  return Tokenizer(std::move(impl));
}

std::int32_t Tokenizer::vocabulary_size() const {
  return impl_->processor.GetPieceSize();
}

const std::string& Tokenizer::bytes() const {
  return impl_->bytes;
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, std::int32_t max_length) const {
  if (max_length < 2) fail("encode: max_length is {}, at least 2 is needed for [CLS] and [SEP]", max_length);
  std::vector<int> pieces;
  const auto status = impl_->processor.Encode(text, &pieces);
  if (!status.ok()) fail("encode: {}", status.message());
  const std::size_t kept = std::min(pieces.size(), static_cast<std::size_t>(max_length) - 2);
  std::vector<std::int32_t> tokens;
  tokens.reserve(kept + 2);
  tokens.push_back(kBegin);
  tokens.insert(tokens.end(), pieces.begin(), pieces.begin() + static_cast<std::ptrdiff_t>(kept));
  tokens.push_back(kEnd);
  return tokens;
}

std::string Tokenizer::decode(const std::vector<std::int32_t>& tokens) const {
  std::vector<int> pieces;
  pieces.reserve(tokens.size());
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= vocabulary_size()) {
      fail("decode: token {} lies outside the vocabulary of {}", token, vocabulary_size());
    }
    if (token != kPad && token != kBegin && token != kEnd) pieces.push_back(token);
  }
  std::string text;
  const auto status = impl_->processor.Decode(pieces, &text);
  if (!status.ok()) fail("decode: {}", status.message());
  return text;
}

}  // namespace toller
