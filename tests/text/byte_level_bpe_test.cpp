#include <gmock/gmock.h>

#include <thread>

#include "text/bpe_merges.h"
#include "text/byte_level_words.h"
#include "text/canonical_composition.h"
#include "text/library_fixture.h"

namespace toller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

/// Of tests/reference/byte_level_bpe_reference.py: RoBERTa, ModernBERT, Qwen2 and others.
const Json& fixture() {
  static const Json cases = read_library_fixture("byte_level_bpe.json");
  return cases;
}

/// As RoBERTa's. Ġ is the blank, <s> </s> <unk> have ids 0 to 2.
Json small_tokenizer() {
  Json json = fixture()[0]["tokenizer"];
  json["added_tokens"] = Json::array();
  json["model"]["vocab"] = {{"<s>", 0}, {"</s>", 1}, {"<unk>", 2}, {"a", 3},  {"b", 4},
                            {"Ġ", 5},   {"ab", 6},   {"Ġab", 7},   {"Ã", 8},  {"©", 9},
                            {"Ã©", 10}, {"ï", 11},   {"¿", 12},    {"½", 13}, {"Ġb", 14}};
  json["model"]["merges"] = {"a b", "Ġ ab", "Ã ©"};
  json["post_processor"]["cls"] = {"<s>", 0};
  json["post_processor"]["sep"] = {"</s>", 1};
  return json;
}

std::vector<std::string> words_of(WordPattern pattern, std::string_view text) {
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = end_of_word(pattern, text, begin);
    words.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  return words;
}

TEST(ByteLevelBpe, EqualsTheTokenizersLibrary) {
  expect_tokens_of_library(fixture(), 960);
}

TEST(ByteLevelBpe, CutsTheTailAndKeepsTheLastToken) {
  expect_cut_tails(fixture()[1]);  // with added tokens
  expect_cut_tails(fixture()[2]);  // without a first token
}

TEST(ByteLevelBpe, TakesItsSpecialTokensFromTheFile) {
  EXPECT_EQ(tokenizer_of(small_tokenizer()).special(), (SpecialTokens{.begin = 0, .end = 1}));
  const Tokenizer last_token_only = tokenizer_of(fixture()[2]["tokenizer"]);
  EXPECT_EQ(last_token_only.special().begin, -1);
  EXPECT_THAT(last_token_only.encode("", kLong), ElementsAre(last_token_only.special().end));
  Json json = small_tokenizer();
  json["model"]["unk_token"] = "<unk>";
  json["padding"] = {{"pad_token", "</s>"}};
  EXPECT_EQ(tokenizer_of(json).special(), (SpecialTokens{.pad = 1, .unknown = 2, .begin = 0, .end = 1}));
}

TEST(ByteLevelBpe, MergesInTheirOrder) {
  const Tokenizer tokenizer = tokenizer_of(small_tokenizer());
  EXPECT_THAT(tokenizer.encode("ab abb\u00E9", kLong), ElementsAre(0, 6, 7, 4, 10, 1));
  // "Ġb" is a piece, but no merge makes it.
  EXPECT_THAT(tokenizer.encode(" b", kLong), ElementsAre(0, 5, 4, 1));
  Json json = small_tokenizer();
  json["model"]["ignore_merges"] = true;
  EXPECT_THAT(tokenizer_of(json).encode(" b ba", kLong), ElementsAre(0, 14, 5, 4, 3, 1));
}

TEST(ByteLevelBpe, BytesWithoutAPieceAreLeftOutOrUnknown) {
  Json json = small_tokenizer();
  EXPECT_THAT(tokenizer_of(json).encode("axb", kLong), ElementsAre(0, 6, 1));
  json["model"]["unk_token"] = "<unk>";
  EXPECT_THAT(tokenizer_of(json).encode("axyb", kLong), ElementsAre(0, 3, 2, 2, 4, 1));
}

TEST(ByteLevelBpe, InvalidUtf8IsReplaced) {
  const Tokenizer tokenizer = tokenizer_of(small_tokenizer());
  EXPECT_THAT(tokenizer.encode("a\xE2\x82\xFF", kLong), ElementsAre(0, 3, 11, 12, 13, 11, 12, 13, 1));
}

TEST(ByteLevelBpe, DecodesBytes) {
  const Tokenizer tokenizer = tokenizer_of(small_tokenizer());
  EXPECT_EQ(tokenizer.decode({0, 7, 8, 9, 6, 1}), " ab\u00E9ab");
  EXPECT_EQ(tokenizer.decode({0, 8, 6, 1}), "\uFFFDab");
}

TEST(ByteLevelBpe, LongWordsTakeLittleTime) {
  Json json = small_tokenizer();
  json["model"]["vocab"]["aa"] = 15;
  json["model"]["merges"].push_back("a a");
  std::string word(1 << 20, 'a');
  const auto tokens = tokenizer_of(json).encode(word, 1 << 20);
  EXPECT_EQ(tokens.size(), (1u << 19) + 2);
}

TEST(ByteLevelBpe, ThreadsShareATokenizer) {
  const Json& given = fixture()[0];
  const Tokenizer tokenizer = tokenizer_of(given["tokenizer"]);
  const auto lines = given["lines"].get<std::vector<std::string>>();
  std::vector<std::vector<std::vector<std::int32_t>>> rows(4);
  std::vector<std::thread> threads;
  for (auto& row : rows) {
    threads.emplace_back([&] {
      for (const std::string& line : lines) row.push_back(tokenizer.encode(line, kLong));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& row : rows) EXPECT_EQ(row, rows[0]);
}

TEST(BpeMerges, OfAPairThatStandsThereTwiceTheLastCounts) {
  const std::vector<BpeMerge> merges{{1, 1, 2}, {1, 3, 4}, {1, 1, 2}};
  const std::vector<std::int32_t> pieces{1, 1, 3};
  BpeMerges::Work work;
  std::vector<std::int32_t> tokens;
  BpeMerges(merges).merge(pieces, work, tokens);
  EXPECT_THAT(tokens, ElementsAre(1, 4));
  tokens.clear();
  BpeMerges({}).merge(pieces, work, tokens);
  EXPECT_EQ(tokens, pieces);
}

TEST(ByteLevelWords, Gpt2) {
  EXPECT_THAT(
      words_of(WordPattern::kGpt2, "I'll say  don''t  \n 12.5x'S"),
      ElementsAre("I", "'ll", " say", " ", " don", "''", "t", "  \n", " 12", ".", "5", "x", "'", "S"));
  EXPECT_THAT(words_of(WordPattern::kGpt2, "a \u00A0b\n"), ElementsAre("a", " ", "\u00A0", "b", "\n"));
  EXPECT_THAT(words_of(WordPattern::kGpt2, " '"), ElementsAre(" '"));
  EXPECT_THAT(words_of(WordPattern::kGpt2, "  "), ElementsAre("  "));
}

TEST(ByteLevelWords, Qwen2) {
  EXPECT_THAT(
      words_of(WordPattern::kQwen2, "I'LL say  don''t 125\u00A0x'\u017F!"),
      ElementsAre("I", "'LL", " say", " ", " don", "''", "t", " ", "1", "2", "5", "\u00A0x", "'\u017F", "!"));
  EXPECT_THAT(words_of(WordPattern::kQwen2, "a \n\t\n  b !?\r\n\n."),
              ElementsAre("a", " \n\t\n", " ", " b", " !?\r\n\n", "."));
  EXPECT_THAT(words_of(WordPattern::kQwen2, "\nx"), ElementsAre("\n", "x"));
}

TEST(ByteLevelWords, LettersAndNumbersOfUnicode16) {
  const std::string text = "a\u1C8Ab\U00010D40\U00010D41\U000313AF";
  EXPECT_THAT(words_of(WordPattern::kGpt2, text),
              ElementsAre("a\u1C8Ab", "\U00010D40\U00010D41", "\U000313AF"));
  EXPECT_THAT(words_of(WordPattern::kGpt2, "a\U000323B0"), ElementsAre("a", "\U000323B0"));  // of Unicode 17
}

TEST(CanonicalComposition, OfUnicode9) {
  std::string buffer;
  EXPECT_EQ(compose_canonically("e\u0301 a\u0301\u0323 \u212B \u1100\u1161\u11A8", buffer),
            "\u00E9 \u1EA1\u0301 \u00C5 \uAC01");
  // Composes since Unicode 13, and has a combining class since Unicode 14.
  const std::string young = "\U00011935\U00011930 e\u1ACE\u0323";
  EXPECT_EQ(compose_canonically(young, buffer), young);
}

class ByteLevelBpeFault : public ::testing::TestWithParam<TokenizerFault> {};

TEST_P(ByteLevelBpeFault, IsNamed) {
  expect_named(small_tokenizer(), GetParam());
}

using Fault = TokenizerFault;
INSTANTIATE_TEST_SUITE_P(
    , ByteLevelBpeFault,
    ::testing::Values(
        Fault{"Dropout", R"({"model": {"dropout": 0.1}})", "model.dropout is 0.1, supported is null"},
        Fault{"ByteFallback", R"({"model": {"byte_fallback": true}})",
              "model.byte_fallback is true, supported is false"},
        Fault{"FuseUnknown", R"({"model": {"fuse_unk": true}})",
              "model.fuse_unk is true, supported is false"},
        Fault{"Prefix", R"({"model": {"continuing_subword_prefix": "##"}})",
              "model.continuing_subword_prefix is \"##\", supported is \"\""},
        Fault{"Suffix", R"({"model": {"end_of_word_suffix": "</w>"}})",
              "model.end_of_word_suffix is \"</w>\""},
        Fault{"Unknown", R"({"model": {"unk_token": "[UNK]"}})",
              "unknown token \"[UNK]\" is not in the vocabulary"},
        Fault{"UnknownEmpty", R"({"model": {"unk_token": ""}})",
              "model.unk_token is \"\", expected null or a piece"},
        Fault{"ModelField", R"({"model": {"turn": 1}})", "model.turn is not supported"},
        Fault{"NoMerges", R"({"model": {"merges": null}})", "model.merges is missing"},
        Fault{"MergesType", R"({"model": {"merges": {}}})", "model.merges is an object, expected a list"},
        Fault{"MergeOfThree", R"({"model": {"merges": ["a b", "a b a"]}})",
              "model.merges[1] is neither two pieces"},
        Fault{"MergeOfNumbers", R"({"model": {"merges": [["a", 1]]}})",
              "model.merges[0] is neither two pieces"},
        Fault{"MergePart", R"({"model": {"merges": [["a", "c"]]}})",
              "model.merges[0]: \"c\" is not in the vocabulary"},
        Fault{"MergeResult", R"({"model": {"merges": [["b", "a"]]}})",
              "model.merges[0]: \"ba\" is not in the"},
        Fault{"Normalizer", R"({"normalizer": {"type": "NFKC"}})",
              "normalizer.type is \"NFKC\", supported is \"NFC\""},
        Fault{"NormalizerField", R"({"normalizer": {"type": "NFC", "form": 1}})",
              "normalizer.form is not supported"},
        Fault{"NoPreTokenizer", R"({"pre_tokenizer": null})", "pre_tokenizer is missing"},
        Fault{"PreTokenizer", R"({"pre_tokenizer": {"type": "Whitespace"}})",
              "pre_tokenizer.type is \"Whitespace\""},
        Fault{"NoRegex", R"({"pre_tokenizer": {"use_regex": false}})",
              "pre_tokenizer.use_regex is false, supported without"},
        Fault{
            "Sequence",
            R"({"pre_tokenizer": {"type": "Sequence", "add_prefix_space": null, "trim_offsets": null, "pretokenizers": []}})",
            "pre_tokenizer.pretokenizers is a list, supported are Split and ByteLevel"},
        Fault{"Expression",
              R"({"pre_tokenizer": {"type": "Sequence", "add_prefix_space": null, "trim_offsets": null,
                  "pretokenizers": [{"type": "Split", "pattern": {"Regex": "\\d+"}, "behavior": "Isolated", "invert": false},
                                    {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]}})",
              "the expression \"\\\\d+\" is not supported"},
        Fault{"Behavior",
              R"({"pre_tokenizer": {"type": "Sequence", "add_prefix_space": null, "trim_offsets": null,
                  "pretokenizers": [{"type": "Split", "pattern": {"String": "a"}, "behavior": "Removed", "invert": false}, {}]}})",
              "pre_tokenizer.pretokenizers[0].behavior is \"Removed\", supported is \"Isolated\""},
        Fault{"PostType", R"({"post_processor": {"type": "ByteLevel"}})",
              "post_processor.type is \"ByteLevel\", supported are"},
        Fault{"NoPost", R"({"post_processor": null})", "post_processor is missing"},
        Fault{"PostSequence",
              R"({"post_processor": {"type": "Sequence", "sep": null, "cls": null, "trim_offsets": null,
                  "add_prefix_space": null, "processors": [{"type": "RobertaProcessing"}, {"type": "ByteLevel"}]}})",
              "post_processor.processors[0].type is \"RobertaProcessing\", supported is \"ByteLevel\""},
        Fault{"PostIds", R"({"post_processor": {"cls": ["<s>", 9]}})",
              "post_processor.cls is a list, whose id"},
        Fault{
            "AddedId",
            R"({"added_tokens": [{"id": 20, "content": "x", "single_word": false, "lstrip": false, "rstrip": false,
                  "normalized": false, "special": false}]})",
            "added token \"x\" has id 20, expected 15"},
        Fault{"AddedTwice", R"({"normalizer": {"type": "NFC"}, "added_tokens": [
                  {"id": 15, "content": "\u00e9", "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": true, "special": false},
                  {"id": 16, "content": "e\u0301", "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": true, "special": false}]})",
              "added_tokens: \"\u00E9\" is looked for twice"}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace toller
