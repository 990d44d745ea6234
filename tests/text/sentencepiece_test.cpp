#include <gmock/gmock.h>

#include <algorithm>

#include "temporary_folder.h"
#include "text/sentencepiece_fixture.h"
#include "text/sentencepiece_model.h"
#include "text/sentences.h"
#include "text/tokenizer.h"

namespace toller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string trained_model(const SentencepieceOptions& options) {
  SentencepieceOptions all = options;
  all.insert({"vocab_size", "60"});
  return train_sentencepiece(sentences(), all);
}

std::string conversion_message(const SentencepieceOptions& options) {
  const std::string model = trained_model(options);
  return message_of([&] { as_tokenizer_json(model, "here.model"); });
}

/// What tokenizers are asked for here: words that were seen or not, blanks of all kinds, widths, marks.
std::vector<std::string> texts() {
  std::vector<std::string> all = sentences();
  all.insert(all.end(),
             {"", "  ", "\t a  dog\u3000\u00A0finds \n", "SMALL \uFF44\uFF4F\uFF47 \u2460 \uFB01nds",
              "unseen \u4E00\u4E01 letters", "a \u2581 mark", "e\u0301\u200B x"});
  return all;
}

TEST(Sentencepiece, TakesTheSpecialTokensThatAModelHas) {
  const Tokenizer plain = Tokenizer::from_bytes(trained_model({}), "plain.model");
  EXPECT_EQ(plain.special(), (SpecialTokens{.pad = -1, .unknown = 0, .begin = 1, .end = 2}));
  EXPECT_THAT(plain.encode("", 10), ElementsAre(1, 2));
  const Tokenizer without_first = Tokenizer::from_bytes(
      trained_model({{"pad_id", "0"}, {"eos_id", "1"}, {"unk_id", "2"}, {"bos_id", "-1"}}),
      "without first.model");
  EXPECT_EQ(without_first.special(), (SpecialTokens{.pad = 0, .unknown = 2, .begin = -1, .end = 1}));
  EXPECT_THAT(without_first.encode("", 10), ElementsAre(1));
  const std::string endless = trained_model({{"eos_id", "-1"}});
  EXPECT_THAT(message_of([&] { Tokenizer::from_bytes(endless, "endless.model"); }),
              StartsWith("endless.model: the tokenizer has no piece for the end of a text"));
}

TEST(Sentencepiece, ReadsBpeToo) {
  const Tokenizer bpe = Tokenizer::from_bytes(trained_model({{"model_type", "bpe"}}), "bpe.model");
  for (const std::string& line : sentences()) EXPECT_EQ(bpe.decode(bpe.encode(line, 100)), line);
}

TEST(Sentencepiece, TextCannotForgeSpecialTokens) {
  const Tokenizer plain = Tokenizer::from_bytes(trained_model({}), "plain.model");
  const auto tokens = plain.encode("<s> </s>", 100);
  EXPECT_EQ(std::ranges::count(tokens, 1), 1);
  EXPECT_EQ(std::ranges::count(tokens, 2), 1);
}

/// On texts without clusters of several characters that a normaliser replaces, and without a mark at the end.
TEST(Sentencepiece, TokenizerJsonGivesTheSameTokens) {
  for (const SentencepieceOptions& options : {SentencepieceOptions{},
                                              {{"normalization_rule_name", "nmt_nfkc_cf"}},
                                              {{"pad_id", "3"}, {"bos_id", "-1"}}}) {
    const std::string model = trained_model(options);
    const Tokenizer before = Tokenizer::from_bytes(model, "here.model");
    const Tokenizer after = Tokenizer::from_bytes(as_tokenizer_json(model, "here.model"), "here.json");
    EXPECT_EQ(after.special(), before.special());
    EXPECT_EQ(after.vocabulary_size(), before.vocabulary_size());
    for (const std::string& text : texts())
      EXPECT_EQ(after.encode(text, 100), before.encode(text, 100)) << text;
  }
}

TEST(Sentencepiece, WhatTrainingGivesIsItsModelInAnotherForm) {
  for (const bool lower_case : {false, true}) {
    Tokenizer::TrainOptions options;
    options.vocabulary_size = 45;
    options.lower_case = lower_case;
    const std::string model = train_sentencepiece_model(sentences(), options);
    EXPECT_EQ(Tokenizer::train(sentences(), options).bytes(), as_tokenizer_json(model, "here.model"));
  }
}

TEST(Sentencepiece, SaysWhatATokenizerJsonHasNoPlaceFor) {
  EXPECT_THAT(conversion_message({{"model_type", "bpe"}}),
              StartsWith("here.model: is a sentencepiece model of the kind BPE"));
  EXPECT_THAT(conversion_message({{"user_defined_symbols", "xyz"}}),
              StartsWith("here.model: piece \"xyz\" is user-defined"));
  EXPECT_THAT(conversion_message({{"byte_fallback", "true"}, {"vocab_size", "400"}}),
              StartsWith("here.model: piece \"<0x00>\" is a byte"));
  for (const char* option : {"add_dummy_prefix", "remove_extra_whitespaces"}) {
    EXPECT_THAT(conversion_message({{option, "false"}}), HasSubstr("keeps blanks in another way"));
  }
  EXPECT_THAT(conversion_message({{"treat_whitespace_as_suffix", "true"}}),
              HasSubstr("keeps blanks in another way"));
  EXPECT_THAT(conversion_message({{"eos_id", "-1"}}), HasSubstr("here.model: has no piece for the end"));
}

/// Fairseq's ids: <s> <pad> </s> <unk>, then sentencepiece's, one higher, and <mask>.
TEST(Sentencepiece, XlmRobertasModelHasTheIdsOfItsWeights) {
  const TemporaryFolder folder;
  const std::string model = trained_model({});
  folder.write("sentencepiece.bpe.model", model);
  const Tokenizer plain = Tokenizer::from_bytes(model, "plain.model");
  const Tokenizer converted =
      Tokenizer::load_xlm_roberta((folder.path() / "sentencepiece.bpe.model").string());
  EXPECT_EQ(converted.special(), (SpecialTokens{.pad = 1, .unknown = 3, .begin = 0, .end = 2}));
  EXPECT_EQ(converted.vocabulary_size(), plain.vocabulary_size() + 2);
  for (const std::string& line : sentences()) {
    std::vector<std::int32_t> expected = plain.encode(line, 100);
    for (std::int32_t& token : expected) token = token == 0 ? 3 : token == 1 ? 0 : token == 2 ? 2 : token + 1;
    EXPECT_EQ(converted.encode(line, 100), expected);
  }
  const std::int32_t mask = converted.vocabulary_size() - 1;
  EXPECT_EQ(std::ranges::count(converted.encode("dog <mask>", 100), mask), 1);
}

TEST(Sentencepiece, XlmRobertasModelBeginsWithItsThreePieces) {
  const TemporaryFolder folder;
  folder.write("other.model",
               trained_model({{"pad_id", "0"}, {"unk_id", "1"}, {"bos_id", "2"}, {"eos_id", "3"}}));
  const std::string path = (folder.path() / "other.model").string();
  EXPECT_EQ(message_of([&] { Tokenizer::load_xlm_roberta(path); }),
            path + ": is not XLM-RoBERTa's: its piece 0 is not <unk>");
}

TEST(Sentencepiece, DamagedModelsAreErrors) {
  const TemporaryFolder folder;
  const std::string model = trained_model({});
  const std::string path = (folder.path() / "cut.model").string();
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{7}, model.size() / 2, model.size() - 1}) {
    folder.write("cut.model", model.substr(0, size));
    EXPECT_THAT(message_of([&] { Tokenizer::load_xlm_roberta(path); }), StartsWith(path + ": ")) << size;
  }
}

}  // namespace
}  // namespace toller
