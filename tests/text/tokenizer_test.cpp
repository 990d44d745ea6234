#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "error.h"
#include "text/sentencepiece_model.h"
#include "text/sentences.h"
#include "text/tokenizer.h"

namespace toller {
namespace {

using ::testing::HasSubstr;

Tokenizer::TrainOptions small_options() {
  Tokenizer::TrainOptions options;
  options.vocabulary_size = 50;
  return options;
}

const Tokenizer& tokenizer() {
  static const Tokenizer trained = Tokenizer::train(sentences(), small_options());
  return trained;
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string train_message(const std::vector<std::string>& texts, std::int32_t vocabulary_size) {
  return message_of([&] {
    Tokenizer::TrainOptions options;
    options.vocabulary_size = vocabulary_size;
    Tokenizer::train(texts, options);
  });
}

TEST(Tokenizer, HasTheVocabularyThatWasAskedFor) {
  EXPECT_EQ(tokenizer().vocabulary_size(), 50);
}

TEST(Tokenizer, EncodesBetweenClsAndSepAndDecodesBack) {
  for (const std::string text : {"small dog keeps things.", "a violin mirror joins quick walnut planets"}) {
    const auto tokens = tokenizer().encode(text, 100);
    ASSERT_GT(tokens.size(), 4u);
    EXPECT_EQ(tokens.front(), kSentencePieceSpecials.begin);
    EXPECT_EQ(tokens.back(), kSentencePieceSpecials.end);
    for (std::size_t i = 1; i + 1 < tokens.size(); ++i) {
      EXPECT_GT(tokens[i], kSentencePieceSpecials.end);
      EXPECT_LT(tokens[i], tokenizer().vocabulary_size());
    }
    EXPECT_EQ(tokenizer().decode(tokens), text);
  }
}

TEST(Tokenizer, NormalisesCaseWidthAndBlanks) {
  const auto expected = tokenizer().encode("small dog", 100);
  EXPECT_EQ(tokenizer().encode("SMALL   Dog ", 100), expected);
  EXPECT_EQ(tokenizer().encode("\uFF53\uFF4D\uFF41\uFF4C\uFF4C dog", 100), expected);  // full-width letters
}

TEST(Tokenizer, KeepsCaseWhenAskedTo) {
  Tokenizer::TrainOptions options = small_options();
  options.lower_case = false;
  const Tokenizer cased = Tokenizer::train(sentences(), options);
  EXPECT_EQ(cased.decode(cased.encode("Small dog", 100)), "Small dog");
  EXPECT_NE(cased.encode("Small dog", 100), cased.encode("small dog", 100));
}

TEST(Tokenizer, CutsTheTailAndKeepsSep) {
  const auto whole = tokenizer().encode("curious wizard breaks things.", 100);
  const auto length = static_cast<std::int32_t>(whole.size());
  ASSERT_GT(length, 5);
  EXPECT_EQ(tokenizer().encode("curious wizard breaks things.", length), whole);
  for (const std::int32_t limit : {2, 3, length - 1}) {
    const auto cut = tokenizer().encode("curious wizard breaks things.", limit);
    ASSERT_EQ(cut.size(), static_cast<std::size_t>(limit));
    EXPECT_EQ(cut.back(), kSentencePieceSpecials.end);
    EXPECT_TRUE(std::equal(cut.begin(), cut.end() - 1, whole.begin()));
  }
  EXPECT_THAT(message_of([] { tokenizer().encode("dog", 1); }), HasSubstr("max_length is 1"));
}

TEST(Tokenizer, EmptyTextIsTheTwoSpecialTokens) {
  const std::vector<std::int32_t> expected{kSentencePieceSpecials.begin, kSentencePieceSpecials.end};
  EXPECT_EQ(tokenizer().encode("", 10), expected);
  EXPECT_EQ(tokenizer().encode(" \t ", 10), expected);
}

TEST(Tokenizer, CharactersThatTrainingNeverSawAreUnknown) {
  const auto tokens = tokenizer().encode("\u4E00", 10);
  EXPECT_NE(std::ranges::find(tokens, kSentencePieceSpecials.unknown), tokens.end());
}

/// As the library that reads the exported tokenizer has it.
TEST(Tokenizer, SpecialTokensWrittenInATextAreTheTokens) {
  const auto tokens = tokenizer().encode("dog [SEP] dog", 100), word = tokenizer().encode("dog", 100);
  EXPECT_EQ(std::ranges::count(tokens, kSentencePieceSpecials.end), 2);
  EXPECT_EQ(tokens.size(), 2 * word.size() - 1);
}

TEST(Tokenizer, TrainingIsDeterministic) {
  EXPECT_EQ(Tokenizer::train(sentences(), small_options()).bytes(), tokenizer().bytes());
}

TEST(Tokenizer, TrainsOnEvenlySpacedTextsWhenThereAreTooMany) {
  // Every second of twice the texts, the other half being of letters that must then be unknown.
  std::vector<std::string> texts;
  for (const std::string& text : sentences()) {
    texts.push_back(text);
    texts.push_back("\u0416\u0416\u0416 \u0414\u0414");
  }
  Tokenizer::TrainOptions options = small_options();
  options.max_sentences = static_cast<std::int64_t>(sentences().size());
  EXPECT_EQ(Tokenizer::train(texts, options).bytes(), tokenizer().bytes());
}

TEST(Tokenizer, LongTextsAreNotLeftOut) {
  std::string text;
  for (const std::string& sentence : sentences()) text += sentence + "\n";
  ASSERT_GT(text.size(), 10000u);
  EXPECT_EQ(Tokenizer::train({text}, small_options()).vocabulary_size(), 50);
}

TEST(Tokenizer, SaysTheLargestPossibleVocabulary) {
  const std::string message = train_message(sentences(), 20000);
  const std::string lead = "the largest possible is ";
  ASSERT_THAT(message, HasSubstr(lead));
  const std::int32_t largest = std::stoi(message.substr(message.find(lead) + lead.size()));
  EXPECT_GT(largest, 50);
  EXPECT_EQ(train_message(sentences(), largest), "no error");
  EXPECT_THAT(train_message(sentences(), largest + 1), HasSubstr(lead));
}

TEST(Tokenizer, SaysTheSmallestPossibleVocabulary) {
  const std::string message = train_message(sentences(), 10);
  const std::string lead = "need at least ";
  ASSERT_THAT(message, HasSubstr("a vocabulary of 10 is too small"));
  ASSERT_THAT(message, HasSubstr(lead));
  const std::int32_t smallest = std::stoi(message.substr(message.find(lead) + lead.size()));
  EXPECT_GT(smallest, 10);
  EXPECT_EQ(train_message(sentences(), smallest), "no error");
  EXPECT_THAT(train_message(sentences(), smallest - 1), HasSubstr(lead));
}

TEST(Tokenizer, RefusesSillyVocabulariesAndNoText) {
  EXPECT_THAT(train_message(sentences(), -3), HasSubstr("vocabulary size -3"));
  EXPECT_THAT(train_message({}, 60), HasSubstr("there are no texts"));
  EXPECT_THAT(train_message({"  ", "\u2581", "\uFFFD", "\u200B"}, 60), HasSubstr("there are no texts"));
  EXPECT_THAT(train_message({"a"}, 60), HasSubstr("the largest possible is"));
}

TEST(Tokenizer, ComesBackFromBytesAndFromAFile) {
  const auto path =
      std::filesystem::temp_directory_path() / ("toller-tokenizer-" + std::to_string(::getpid()));
  std::ofstream(path, std::ios::binary) << tokenizer().bytes();
  const Tokenizer from_file = Tokenizer::load(path.string());
  const Tokenizer from_bytes = Tokenizer::from_bytes(tokenizer().bytes(), "a test");
  std::filesystem::remove(path);
  for (const std::string& text : sentences()) {
    EXPECT_EQ(from_file.encode(text, 20), tokenizer().encode(text, 20));
    EXPECT_EQ(from_bytes.encode(text, 20), tokenizer().encode(text, 20));
  }
  EXPECT_EQ(from_file.bytes(), tokenizer().bytes());
}

TEST(Tokenizer, RefusesWhatIsNoModel) {
  EXPECT_THAT(message_of([] { Tokenizer::load("/nowhere/x.model"); }),
              HasSubstr("/nowhere/x.model: cannot open"));
  EXPECT_THAT(message_of([] { Tokenizer::load("/"); }), HasSubstr("/: is a folder"));
  EXPECT_THAT(message_of([] { Tokenizer::from_bytes("", "here"); }),
              HasSubstr("here: not a sentencepiece model"));
  EXPECT_THAT(message_of([] { Tokenizer::from_bytes("hello world", "here"); }),
              HasSubstr("here: not a sentencep"));
  const std::string half = tokenizer().bytes().substr(0, tokenizer().bytes().size() / 2);
  EXPECT_THAT(message_of([&] { Tokenizer::from_bytes(half, "here"); }), HasSubstr("here: not JSON"));
}

TEST(Tokenizer, DecodeRefusesTokensOutsideTheVocabulary) {
  EXPECT_THAT(message_of([] { tokenizer().decode({50}); }),
              HasSubstr("token 50 lies outside the vocabulary of 50"));
  EXPECT_THAT(message_of([] { tokenizer().decode({-1}); }), HasSubstr("token -1"));
}

TEST(Tokenizer, EncodesOnManyThreadsAtOnce) {
  const std::vector<std::string> texts = sentences();
  std::vector<std::vector<std::int32_t>> expected;
  for (const std::string& text : texts) expected.push_back(tokenizer().encode(text, 20));
  std::array<int, 8> wrong{};
  {
    std::vector<std::jthread> threads;
    for (int& count : wrong) {
      threads.emplace_back([&texts, &expected, &count] {
        for (std::size_t i = 0; i < texts.size(); ++i)
          count += tokenizer().encode(texts[i], 20) != expected[i];
      });
    }
  }
  for (const int count : wrong) EXPECT_EQ(count, 0);
}

}  // namespace
}  // namespace toller
