// Models that the sentencepiece library trains by itself, as users bring them.
#pragma once

#include <gtest/gtest.h>
#include <sentencepiece_trainer.h>

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace toller {

using SentencepieceOptions = std::unordered_map<std::string, std::string>;

class SentencepieceLines final : public sentencepiece::SentenceIterator {
 public:
  explicit SentencepieceLines(const std::vector<std::string>& lines) : lines_(lines) {}
  bool done() const override { return next_ == lines_.size(); }
  void Next() override { ++next_; }
  const std::string& value() const override { return lines_[next_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& lines_;
  std::size_t next_ = 0;
};

/// The bytes of a .model, by the library's own defaults (<unk> 0, <s> 1, </s> 2, no padding) but for what is
/// given; with fewer pieces than were asked for if the lines do not yield them.
inline std::string train_sentencepiece(const std::vector<std::string>& lines, SentencepieceOptions options) {
  options.insert({{"minloglevel", "2"}, {"hard_vocab_limit", "false"}});
  SentencepieceLines texts(lines);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(options, &texts, &model);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return model;
}

}  // namespace toller
