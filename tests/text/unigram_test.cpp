#include <gmock/gmock.h>

#include "text/grapheme_breaks.h"
#include "text/library_fixture.h"
#include "text/precompiled_normalizer.h"
#include "text/unicode.h"

namespace toller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

/// Of tests/reference/unigram_reference.py: XLM-RoBERTa and others.
const Json& fixture() {
  static const Json cases = read_library_fixture("unigram.json");
  return cases;
}

/// As XLM-RoBERTa's, without a normaliser. <s> <pad> </s> <unk> have ids 0 to 3.
Json small_tokenizer() {
  Json json = fixture()[0]["tokenizer"];
  json["added_tokens"] = Json::array();
  json["normalizer"] = nullptr;
  json["model"]["vocab"] = Json::parse(
      R"([["<s>", 0], ["<pad>", 0], ["</s>", 0], ["<unk>", 0], ["\u2581", -2.5], ["\u2581a", -3.25], ["ab", -3.5],
          ["b", -4], ["a", -4.5], ["\uFFFD", -5.0]])");
  return json;
}

std::vector<std::string> clusters_of(std::string_view text) {
  std::vector<std::string> clusters;
  GraphemeBreaks breaks;
  for (std::size_t position = 0; position < text.size();) {
    const char32_t character = next_character(text, position);
    if (breaks.breaks_before(character)) clusters.emplace_back();
    append_utf8(character, clusters.back());
  }
  return clusters;
}

TEST(Unigram, EqualsTheTokenizersLibrary) {
  expect_tokens_of_library(fixture(), 1000);
}

TEST(Unigram, CutsTheTailAndKeepsTheLastToken) {
  expect_cut_tails(fixture()[0]);
  expect_cut_tails(fixture()[1]);  // words divided twice
}

TEST(Unigram, TakesTheBestWay) {
  const Tokenizer tokenizer = tokenizer_of(small_tokenizer());
  EXPECT_EQ(tokenizer.special(), (SpecialTokens{.pad = 1, .unknown = 3, .begin = 0, .end = 2}));
  EXPECT_EQ(tokenizer.vocabulary_size(), 10);
  EXPECT_THAT(tokenizer.encode("ab b", kLong), ElementsAre(0, 4, 6, 4, 7, 2));  // -2.5 - 3.5 > -3.25 - 4
  EXPECT_THAT(tokenizer.encode("", kLong), ElementsAre(0, 2));
}

TEST(Unigram, UnknownCharactersAreOneToken) {
  const Tokenizer tokenizer = tokenizer_of(small_tokenizer());
  EXPECT_THAT(tokenizer.encode("xyza<unk>\u00E9 x", kLong), ElementsAre(0, 4, 3, 8, 3, 4, 3, 2));
}

TEST(Unigram, InvalidUtf8IsReplaced) {
  EXPECT_THAT(tokenizer_of(small_tokenizer()).encode("\xE2\x82\xFF", kLong), ElementsAre(0, 4, 9, 9, 2));
}

TEST(Unigram, DecodesMarksAsBlanks) {
  const Tokenizer tokenizer = tokenizer_of(small_tokenizer());
  EXPECT_EQ(tokenizer.decode({0, 5, 7, 4, 6, 2}), "ab ab");
}

TEST(Unigram, ScoresMayBeIntegers) {
  Json json = small_tokenizer();
  json["model"]["vocab"][7][1] = -4.0;
  EXPECT_EQ(tokenizer_of(json).bytes(), tokenizer_of(small_tokenizer()).bytes());
}

TEST(GraphemeBreaks, OfUnicode17) {
  EXPECT_THAT(clusters_of("ae\u0301\r\n\u0301"), ElementsAre("a", "e\u0301", "\r\n", "\u0301"));
  EXPECT_THAT(clusters_of("\u1100\u1161\u11A8\uAC00\u11A8\u1100"),
              ElementsAre("\u1100\u1161\u11A8", "\uAC00\u11A8", "\u1100"));
  EXPECT_THAT(clusters_of("\U0001F1E9\U0001F1EA\U0001F1E9"),
              ElementsAre("\U0001F1E9\U0001F1EA", "\U0001F1E9"));
  EXPECT_THAT(clusters_of("\u00A9\u0301\u200D\u2122x\u200D\u2122"),
              ElementsAre("\u00A9\u0301\u200D\u2122", "x\u200D", "\u2122"));
  EXPECT_THAT(clusters_of("\u0915\u094D\u0937\u0915\u094D\u200C\u0937"),
              ElementsAre("\u0915\u094D\u0937", "\u0915\u094D\u200C", "\u0937"));
  EXPECT_THAT(clusters_of("\u0600a\u0897"), ElementsAre("\u0600a\u0897"));
}

TEST(PrecompiledNormalizer, LooksUpClustersAndCharacters) {
  const std::string charsmap = fixture()[0]["tokenizer"]["normalizer"]["precompiled_charsmap"];
  const PrecompiledNormalizer normalizer(charsmap, "here");
  EXPECT_EQ(normalizer.normalize("a\tb\r\nc\u2122"), "a b cTM");
  EXPECT_EQ(normalizer.normalize("\u2122\u0301"), "TM");  // the accent goes with its cluster
}

TEST(PrecompiledNormalizer, DamageIsNamed) {
  const auto message = [](const std::string& charsmap) {
    return message_of([&] { PrecompiledNormalizer(charsmap, "here"); });
  };
  EXPECT_THAT(message("a"), HasSubstr("here: precompiled_charsmap is not base64"));
  EXPECT_THAT(message("a,aa"), HasSubstr("not base64"));
  EXPECT_THAT(message("BAA="), HasSubstr("its trie does not fit"));          // two bytes
  EXPECT_THAT(message("CAAAAAAAAAA="), HasSubstr("its trie does not fit"));  // 8 bytes promised, 4 there
  EXPECT_THAT(message("BAAAAAAAAAD/"), HasSubstr("its texts are not UTF-8"));
  // Units that lead out of the trie: nothing is replaced.
  EXPECT_EQ(PrecompiledNormalizer("BAAAAP///38=", "here").normalize("a\u00E9"), "a\u00E9");
}

class UnigramFault : public ::testing::TestWithParam<TokenizerFault> {};

TEST_P(UnigramFault, IsNamed) {
  expect_named(small_tokenizer(), GetParam());
}

using Fault = TokenizerFault;
INSTANTIATE_TEST_SUITE_P(
    , UnigramFault,
    ::testing::Values(
        Fault{"NoUnknown", R"({"model": {"unk_id": null}})", "model.unk_id is missing"},
        Fault{"Unknown", R"({"model": {"unk_id": 10}})", "model.unk_id is 10, but there are 10 pieces"},
        Fault{"ByteFallback", R"({"model": {"byte_fallback": true}})",
              "model.byte_fallback is true, supported is false"},
        Fault{"VocabularyType", R"({"model": {"vocab": {"a": 1}}})",
              "model.vocab is an object, expected a list"},
        Fault{"Piece", R"({"model": {"vocab": [["a", 0], ["b"]]}})",
              "model.vocab[1] is not a list of a text and a number"},
        Fault{"Score", R"({"model": {"vocab": [["a", -1e300]]}})", "model.vocab[0]: -1e+300 is no logarithm"},
        Fault{"PieceTwice", R"({"model": {"vocab": [["a", 0], ["a", -1]]}})",
              "model.vocab[1]: \"a\" stands there twice"},
        Fault{"Normalizer", R"({"normalizer": {"type": "NFKC"}})",
              "normalizer.type is \"NFKC\", supported are Precompiled"},
        Fault{"Charsmap", R"({"normalizer": {"type": "Precompiled", "precompiled_charsmap": ""}})",
              "normalizer.precompiled_charsmap is \"\", which is empty"},
        Fault{"Order", R"({"normalizer": {"type": "Sequence", "normalizers": [
                  {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
                  {"type": "Strip", "strip_left": true, "strip_right": true}]}})",
              "normalizer.normalizers is a list, supported are Precompiled, Strip and Replace in this order"},
        Fault{"Pattern", R"({"normalizer": {"type": "Replace", "pattern": {"Regex": "a"}, "content": " "}})",
              "normalizer.pattern.Regex is \"a\", supported is \" {2,}\""},
        Fault{"Replacement", R"({"pre_tokenizer": {"replacement": "_"}})",
              "pre_tokenizer.replacement is \"_\""},
        Fault{"NoPrefix", R"({"pre_tokenizer": {"add_prefix_space": false}})",
              "pre_tokenizer.add_prefix_space is false"},
        Fault{"First", R"({"pre_tokenizer": {"prepend_scheme": "first"}})",
              "pre_tokenizer.prepend_scheme is \"first\", supported is \"always\""},
        Fault{"Whole", R"({"pre_tokenizer": {"split": false}})",
              "pre_tokenizer.split is false, supported is true"},
        Fault{"Sequence",
              R"({"pre_tokenizer": {"type": "Sequence", "replacement": null, "add_prefix_space": null,
                  "pretokenizers": [{"type": "Punctuation"}, {}]}})",
              "pre_tokenizer.pretokenizers[0].type is \"Punctuation\", supported is \"WhitespaceSplit\""}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace toller
