#include <gmock/gmock.h>

#include "text/library_fixture.h"

namespace toller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

/// Of tests/reference/wordpiece_reference.py.
const Json& fixture() {
  static const Json cases = read_library_fixture("wordpiece.json");
  return cases;
}

/// [PAD] [UNK] [CLS] [SEP] [MASK] have ids 0 to 4.
const std::vector<std::string>& pieces() {
  static const std::vector<std::string> pieces{"[PAD]",  "[UNK]", "[CLS]",  "[SEP]", "[MASK]",
                                               "un",     "##aff", "##able", "a",     "Un",
                                               "\u00E9", "e",     "!",      "\uFFFD"};
  return pieces;
}

Json small_tokenizer() {
  Json json = fixture()[0]["tokenizer"];
  json["model"]["vocab"] = Json::object();
  for (std::size_t id = 0; id < pieces().size(); ++id) json["model"]["vocab"][pieces()[id]] = id;
  return json;
}

std::string small_vocabulary() {
  std::string text;
  for (const std::string& piece : pieces()) text += piece + "\n";
  return text;
}

TEST(WordPiece, EqualsTheTokenizersLibrary) {
  expect_tokens_of_library(fixture(), 2000);
}

TEST(WordPiece, CutsTheTailAndKeepsSep) {
  expect_cut_tails(fixture().back());  // with added tokens
}

TEST(WordPiece, TakesItsSpecialTokensFromTheFile) {
  Json json = small_tokenizer();
  std::swap(json["model"]["vocab"]["[PAD]"], json["model"]["vocab"]["[CLS]"]);
  json["added_tokens"] = Json::array();
  json["post_processor"] = {{"type", "BertProcessing"}, {"sep", {"[SEP]", 3}}, {"cls", {"[CLS]", 0}}};
  const Tokenizer tokenizer = tokenizer_of(json);
  EXPECT_EQ(tokenizer.special(), (SpecialTokens{.pad = 2, .unknown = 1, .begin = 0, .end = 3}));
  EXPECT_THAT(tokenizer.encode("unaffable", kLong), ElementsAre(0, 5, 6, 7, 3));
  EXPECT_THAT(tokenizer.encode("un-a", kLong), ElementsAre(0, 5, 1, 8, 3));
  json["model"]["vocab"].erase("[PAD]");
  EXPECT_EQ(tokenizer_of(json).special().pad, -1);
  EXPECT_EQ(Tokenizer::from_bytes(tokenizer_of(json).bytes(), "again").special().pad, -1);
  json["padding"] = {{"pad_token", "!"}};
  EXPECT_EQ(Tokenizer::from_bytes(tokenizer_of(json).bytes(), "again").special().pad, 12);
}

TEST(WordPiece, DecodesWithoutSpecialTokens) {
  const Tokenizer tokenizer = tokenizer_of(small_tokenizer());
  EXPECT_EQ(tokenizer.decode({2, 5, 6, 7, 4, 8, 12, 3, 0}), "unaffable a !");
  EXPECT_THAT(message_of([&] { tokenizer.decode({14}); }), HasSubstr("token 14 lies outside"));
}

TEST(WordPiece, InvalidUtf8IsReplaced) {
  Json json = small_tokenizer();
  const std::string truncated = "a \xE2\x82 \xFF!";  // the first two bytes of three, and none of any
  EXPECT_EQ(tokenizer_of(json).encode(truncated, kLong), tokenizer_of(json).encode("a !", kLong));
  json["normalizer"]["clean_text"] = false;  // which drops U+FFFD
  EXPECT_THAT(tokenizer_of(json).encode(truncated, kLong), ElementsAre(2, 8, 13, 13, 12, 3));
  EXPECT_THAT(tokenizer_of(json).encode("\xFF\xFF", kLong), ElementsAre(2, 1, 3));  // ##U+FFFD is no piece
}

TEST(WordPieceVocabulary, IsTheSameAsItsTokenizerJson) {
  const TemporaryFolder folder;
  const auto path = folder.write("vocab.txt", small_vocabulary()).string();
  const auto json = folder.write("tokenizer.json", " \n" + small_tokenizer().dump(2)).string();
  const Tokenizer tokenizer = Tokenizer::load(path);
  EXPECT_EQ(tokenizer.bytes(), Tokenizer::load(json).bytes());
  EXPECT_EQ(tokenizer.vocabulary_size(), 14);
  EXPECT_THAT(tokenizer.encode("UNAFFABLE \u00C9[MASK]", kLong), ElementsAre(2, 5, 6, 7, 11, 4, 3));
}

TEST(WordPieceVocabulary, KeepsCaseWhenToldTo) {
  const TemporaryFolder folder;
  const auto path = folder.write("vocab.txt", small_vocabulary()).string();
  const std::string text = "Unaffable \u00E9";
  EXPECT_THAT(Tokenizer::load(path).encode(text, kLong), ElementsAre(2, 5, 6, 7, 11, 3));
  EXPECT_THAT(Tokenizer::load(path, true).encode(text, kLong), ElementsAre(2, 9, 6, 7, 10, 3));
  folder.write("tokenizer_config.json", R"({"do_lower_case": false, "strip_accents": true})");
  EXPECT_THAT(Tokenizer::load(path).encode(text, kLong), ElementsAre(2, 9, 6, 7, 11, 3));
  folder.write("tokenizer_config.json", R"({"cls_token": {"content": "!"}, "tokenize_chinese_chars": true})");
  EXPECT_THAT(Tokenizer::load(path).encode(text, kLong), ElementsAre(12, 5, 6, 7, 11, 3));
  const auto json = folder.write("tokenizer.json", small_tokenizer().dump()).string();
  EXPECT_THAT(message_of([&] { Tokenizer::load(json, true); }), HasSubstr("holds itself"));
}

TEST(WordPieceVocabulary, LinesEndAsTheyMay) {
  const TemporaryFolder folder;
  const Tokenizer tokenizer =
      Tokenizer::load(folder.write("vocab.txt", "[UNK]\r\n[CLS]\t\n\n[SEP]\u3000\na\na\n\n").string());
  EXPECT_EQ(tokenizer.special(), (SpecialTokens{.pad = -1, .unknown = 0, .begin = 1, .end = 3}));
  EXPECT_THAT(tokenizer.encode("a b", kLong), ElementsAre(1, 5, 0, 3));  // of a twice, the last
}

using Fault = TokenizerFault;

class WordPieceFault : public ::testing::TestWithParam<Fault> {};

TEST_P(WordPieceFault, IsNamed) {
  expect_named(small_tokenizer(), GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    , WordPieceFault,
    ::testing::Values(
        Fault{"Root", R"({"extra": 1})", "extra is not supported"},
        Fault{"Version", R"({"version": "2.0"})", "version is \"2.0\", supported is \"1.0\""},
        Fault{"NoModel", R"({"model": null})", "model is missing"},
        Fault{"ModelType", R"({"model": {"type": "WordLevel"}})",
              "model.type is \"WordLevel\", supported are WordPiece, BPE and Unigram"},
        Fault{"ModelField", R"({"model": {"dropout": 0.1}})", "model.dropout is not supported"},
        Fault{"Vocabulary", R"({"model": {"vocab": [1]}})", "model.vocab is a list, expected an object"},
        Fault{"IdNegative", R"({"model": {"vocab": {"a": -1}}})", "model.vocab.a is -1, expected a number"},
        Fault{"IdHuge", R"({"model": {"vocab": {"a": 2147483647}}})",
              "has id 2147483647, outside [0, 16777215]"},
        Fault{"IdTwice", R"({"model": {"vocab": {"a": 5}}})", "have the same id 5"},
        Fault{"NoUnknown", R"({"model": {"unk_token": "<unk>"}})", "unknown token \"<unk>\" is not in the"},
        Fault{"Normalizer", R"({"normalizer": {"type": "NFC"}})", "normalizer.type is \"NFC\""},
        Fault{"NormalizerField", R"({"normalizer": {"turn": true}})", "normalizer.turn is not supported"},
        Fault{"NormalizerValue", R"({"normalizer": {"lowercase": 1}})",
              "normalizer.lowercase is 1, expected"},
        Fault{"PreTokenizer", R"({"pre_tokenizer": {"type": "Whitespace"}})", "pre_tokenizer.type is"},
        Fault{"PostType", R"({"post_processor": {"type": "ByteLevel"}})",
              "post_processor.type is \"ByteLevel\""},
        Fault{"PostSingle", R"({"post_processor": {"single": []}})",
              "post_processor.single is a list, supported"},
        Fault{"PostPart",
              R"({"post_processor": {"single": [[], {"Sequence": {"id": "A", "type_id": 0}}, 5]}})",
              "post_processor.single[0] is a list, expected an object"},
        Fault{"PostIds", R"({"post_processor": {"special_tokens": {"[CLS]": {"ids": [9]}}}})",
              "post_processor.special_tokens.[CLS].ids is a list, not the vocabulary's id of [CLS]"},
        Fault{
            "BertIds",
            R"({"post_processor": {"type": "BertProcessing", "cls": ["[CLS]", 9], "single": null, "pair": null,
                  "special_tokens": null}})",
            "post_processor.cls is a list, whose id"},
        Fault{"Truncation", R"({"truncation": {"direction": "Left"}})", "truncation.direction is \"Left\""},
        Fault{"Padding", R"({"padding": {"pad_token": "<pad>"}})", "padding token \"<pad>\" is not in the"},
        Fault{"AddedField", R"({"added_tokens": [{"id": 20, "content": "x", "color": 1}]})",
              "added_tokens[0].color is not supported"},
        Fault{"AddedFlag", R"({"added_tokens": [{"id": 20, "content": "x"}]})",
              "added_tokens[0].single_word is missing"},
        Fault{"AddedId",
              R"({"added_tokens": [{"id": 20, "content": "a", "single_word": false, "lstrip": false,
                  "rstrip": false, "normalized": false, "special": false}]})",
              "added token \"a\" has id 20, but 8 in the vocabulary"},
        Fault{"AddedSpace",
              R"({"added_tokens": [{"id": 14, "content": " x", "single_word": false, "lstrip": false,
                  "rstrip": true, "normalized": false, "special": false}]})",
              "added_tokens: one that begins with white space beside one with rstrip is not supported"},
        Fault{"AddedEmpty",
              R"({"added_tokens": [{"id": 14, "content": "\u0301", "single_word": false, "lstrip": false,
                  "rstrip": false, "normalized": true, "special": false}]})",
              "added token 14 is empty"}),
    [](const auto& info) { return info.param.name; });

TEST(WordPieceFile, RefusesWhatItCannotRead) {
  const TemporaryFolder folder;
  const auto load = [&](const char* name, const std::string& content) {
    const auto path = folder.write(name, content).string();
    return message_of([&] { Tokenizer::load(path); });
  };
  EXPECT_THAT(load("tokenizer.json", "{\"version\":"), HasSubstr("tokenizer.json: not JSON"));
  EXPECT_THAT(load("tokenizer.json", "[]"), HasSubstr("is a list, expected an object"));
  EXPECT_THAT(load("tokenizer.json", ""), HasSubstr("the file is empty"));
  EXPECT_THAT(load("vocab.txt", "[UNK]\n[CLS]\na\n"), HasSubstr("the end token \"[SEP]\" is not in the"));
  EXPECT_THAT(load("vocab.txt", "[UNK]\n\xFF\n"),
              HasSubstr("vocab.txt: not a vocabulary: byte 6 is not UTF-8"));
  folder.write("tokenizer_config.json", R"({"do_basic_tokenize": false})");
  EXPECT_THAT(load("vocab.txt", small_vocabulary()),
              HasSubstr("tokenizer_config.json: do_basic_tokenize is false, supported is true"));
}

TEST(SameTokenizer, WhateverTheOrderOfFields) {
  const std::string bytes =
      Tokenizer::load(TOLLER_SOURCE_DIR "/tests/checkpoint/fixtures/pretrained/model/tokenizer.json").bytes();
  const nlohmann::json fields = nlohmann::json::parse(bytes);  // in the order of their names
  ASSERT_NE(fields.dump(2), bytes);
  EXPECT_TRUE(is_same_tokenizer(bytes, bytes));
  EXPECT_TRUE(is_same_tokenizer(bytes, fields.dump(2)));
  nlohmann::json cased = fields;
  cased["normalizer"]["lowercase"] = false;
  EXPECT_FALSE(is_same_tokenizer(bytes, cased.dump()));
  EXPECT_FALSE(is_same_tokenizer(bytes, "another"));
}

}  // namespace
}  // namespace toller
