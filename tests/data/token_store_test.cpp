#include "data/token_store.h"

#include <gmock/gmock.h>

#include <cmath>
#include <functional>

#include "io/hdf5_file.h"
#include "temporary_folder.h"

namespace toller {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Collection example() {
  Collection collection;
  const std::vector<std::string> nouns{"dog",     "violin", "planet", "walnut",
                                       "harbour", "mirror", "wizard", "exhibit"};
  for (const std::string& first : nouns) {
    for (const std::string& second : nouns) {
      collection.documents.push_back(
          {first + "-" + second, "the " + first + " saw a " + second + " by the sea"});
    }
  }
  collection.queries = {
      {"q1", "q dog"}, {"violin-dog", "violin dog"}, {"q3", "a long query of many words by the sea"}};
  collection.splits["test"] = {{1, 0, 2, {}}, {1, 5, 1, {}}};
  collection.splits["train"] = {{0, 3, 1, {}}, {2, 0, 0, {}}, {2, 1, -1, {}}, {2, 63, 3, {}}};
  return collection;
}

const Tokenizer& tokenizer() {
  static const Tokenizer trained = [] {
    std::vector<std::string> texts;
    for (const TextRecord& record : example().documents) texts.push_back(record.text);
    Tokenizer::TrainOptions options;
    options.vocabulary_size = 28;
    return Tokenizer::train(texts, options);
  }();
  return trained;
}

TextForm cut_at(std::int32_t max_length) {
  return {{"", max_length}, {"", max_length}};
}

void expect_rows(const TokenTable& table, const std::vector<TextRecord>& records, std::int32_t max_length) {
  ASSERT_EQ(table.rows(), static_cast<std::int64_t>(records.size()));
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    const auto tokens = table.row(row);
    EXPECT_EQ(std::vector<std::int32_t>(tokens.begin(), tokens.end()),
              tokenizer().encode(records[row].text, max_length));
    EXPECT_EQ(table.ids[row], records[row].id);
  }
}

TEST(TokenStore, WhatIsWrittenIsRead) {
  const TemporaryFolder folder;
  const Collection collection = example();
  write_token_store(collection, tokenizer(), cut_at(200), 3, folder.path() / "store.h5");
  const TokenStore store = read_token_store(folder.path() / "store.h5");
  expect_rows(store.documents, collection.documents, 200);
  expect_rows(store.queries, collection.queries, 200);
  EXPECT_EQ(store.tokenizer, tokenizer().bytes());
  EXPECT_EQ(store.vocabulary_size, 28);
  EXPECT_THAT(store.same_document, ElementsAre(-1, 8, -1));
  ASSERT_EQ(store.splits.size(), 2u);
  const Split& train = store.split("train");
  EXPECT_EQ(train.name, "train");
  EXPECT_THAT(train.query, ElementsAre(0, 2));
  EXPECT_THAT(train.offsets, ElementsAre(0, 1, 4));
  EXPECT_THAT(train.document, ElementsAre(3, 0, 1, 63));
  EXPECT_THAT(train.grade, ElementsAre(1, 0, -1, 3));
  EXPECT_THAT(store.split("test").offsets, ElementsAre(0, 2));
  EXPECT_THAT(message_of([&] { store.split("dev"); }),
              HasSubstr("there is no split \"dev\"; the store has: test, train"));
}

TEST(TokenStore, KeepsTheTexts) {
  const TemporaryFolder folder;
  const Collection collection = example();
  write_token_store(collection, tokenizer(), cut_at(16), 1, folder.path() / "store.h5");
  const StoreTexts texts = read_store_texts(folder.path() / "store.h5");
  ASSERT_EQ(texts.documents.size(), collection.documents.size());
  for (std::size_t i = 0; i < texts.documents.size(); ++i) {
    EXPECT_EQ(texts.documents[i], collection.documents[i].text);
  }
  EXPECT_THAT(texts.queries, ElementsAre("q dog", "violin dog", "a long query of many words by the sea"));
}

TEST(TokenStore, CutsAndCounts) {
  const TemporaryFolder folder;
  const Collection collection = example();
  const TokenizeReport report =
      write_token_store(collection, tokenizer(), cut_at(9), 2, folder.path() / "store.h5");
  const TokenStore store = read_token_store(folder.path() / "store.h5");
  expect_rows(store.documents, collection.documents, 9);
  std::int64_t tokens = 0;
  std::int64_t unknown = 0;
  std::int64_t cut = 0;
  for (const auto* records : {&collection.documents, &collection.queries}) {
    for (const TextRecord& record : *records) {
      const auto kept = tokenizer().encode(record.text, 9);
      tokens += static_cast<std::int64_t>(kept.size());
      unknown += std::ranges::count(kept, tokenizer().special().unknown);
      cut += tokenizer().encode(record.text, 1000).size() > 9 ? 1 : 0;
    }
  }
  EXPECT_EQ(report.texts, 67);
  EXPECT_EQ(report.tokens, tokens);
  EXPECT_EQ(report.unknown, unknown);
  EXPECT_GT(unknown, 0);  // no document has a q
  EXPECT_EQ(report.cut, cut);
  EXPECT_GT(cut, 0);
  EXPECT_LT(cut, 67);
  EXPECT_EQ(report.longest, 9);
  EXPECT_EQ(store.max_length, 9);
}

TEST(TokenStore, TakesSpecialTokensFromTheTokenizer) {
  const TemporaryFolder folder;
  const auto vocabulary = folder.write("vocab.txt", "the\nsaw\n[SEP]\n[UNK]\n[CLS]\na\n");
  const Tokenizer word_piece = Tokenizer::load(vocabulary.string());
  const TokenizeReport report =
      write_token_store(example(), word_piece, cut_at(4), 2, folder.path() / "store.h5");
  const TokenStore store = read_token_store(folder.path() / "store.h5");
  EXPECT_THAT(store.documents.row(0), ElementsAre(4, 0, 3, 2));  // [CLS] the [UNK] [SEP]
  EXPECT_THAT(store.queries.row(0), ElementsAre(4, 3, 3, 2));    // not cut
  EXPECT_THAT(store.queries.row(2), ElementsAre(4, 5, 3, 2));
  EXPECT_EQ(report.unknown, 64 + 2 + 2 + 1);
  EXPECT_EQ(report.cut, 65);
  EXPECT_EQ(store.vocabulary_size, 6);
  EXPECT_EQ(Tokenizer::from_bytes(store.tokenizer, "the store").bytes(), word_piece.bytes());
}

TEST(TokenStore, EverySideHasItsPromptAndItsLength) {
  const TemporaryFolder folder;
  const Collection collection = example();
  const TextForm form{{"the walnut saw ", 12}, {"", 9}};
  const TokenizeReport report =
      write_token_store(collection, tokenizer(), form, 2, folder.path() / "store.h5");
  const TokenStore store = read_token_store(folder.path() / "store.h5");
  EXPECT_EQ(store.form, form);
  EXPECT_EQ(report.longest, 12);
  expect_rows(store.documents, collection.documents, 9);
  std::vector<TextRecord> queries = collection.queries;
  for (TextRecord& query : queries) query.text = "the walnut saw " + query.text;
  expect_rows(store.queries, queries, 12);
  // The prompt is no part of the text that is kept.
  EXPECT_EQ(read_store_texts(folder.path() / "store.h5").queries.front(), "q dog");
}

TEST(TokenStore, DoesNotDependOnTheNumberOfThreads) {
  const TemporaryFolder folder;
  write_token_store(example(), tokenizer(), cut_at(16), 1, folder.path() / "one.h5");
  write_token_store(example(), tokenizer(), cut_at(16), 5, folder.path() / "five.h5");
  const TokenStore one = read_token_store(folder.path() / "one.h5");
  const TokenStore five = read_token_store(folder.path() / "five.h5");
  EXPECT_EQ(one.documents.tokens, five.documents.tokens);
  EXPECT_EQ(one.documents.offsets, five.documents.offsets);
}

TEST(TokenStore, RefusesWhatItCannotWrite) {
  const TemporaryFolder folder;
  const auto write = [&](std::int32_t max_length, int threads, const std::filesystem::path& path) {
    return message_of([&] { write_token_store(example(), tokenizer(), cut_at(max_length), threads, path); });
  };
  EXPECT_THAT(write(2, 1, folder.path() / "store.h5"), HasSubstr("maximum length 2"));
  EXPECT_THAT(write(16, 0, folder.path() / "store.h5"), HasSubstr("0 threads"));
  EXPECT_THAT(write(16, 1, "/nowhere/store.h5"), HasSubstr("/nowhere/store.h5"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

/// The parts of a small store, written by hand so that a test can spoil one.
struct RawStore {
  std::string kind = "token_store";
  std::int64_t version = 1;
  std::int64_t max_length = 4;
  std::int64_t vocabulary_size = 8;
  std::map<std::string, std::vector<std::int32_t>> numbers{{"/documents/tokens", {2, 5, 3, 2, 6, 7, 3}},
                                                           {"/queries/tokens", {2, 4, 3}},
                                                           {"/splits/train/query", {0}},
                                                           {"/splits/train/document", {0, 1}},
                                                           {"/splits/train/grade", {2, -1}}};
  std::map<std::string, std::vector<std::int64_t>> offsets{
      {"/documents/offsets", {0, 3, 7}},      {"/documents/id_offsets", {0, 2, 4}},
      {"/documents/text_offsets", {0, 1, 2}}, {"/queries/offsets", {0, 3}},
      {"/queries/id_offsets", {0, 2}},        {"/queries/text_offsets", {0, 1}},
      {"/splits/train/offsets", {0, 2}}};
  std::string task;
  std::vector<float> scores;
  std::map<std::string, std::string> bytes{{"/documents/ids", "d1d2"},
                                           {"/documents/text", "ab"},
                                           {"/queries/ids", "d2"},
                                           {"/queries/text", "q"},
                                           {"/tokenizer", "a model"}};

  void write(const std::filesystem::path& path) const {
    Hdf5Writer file(path);
    const auto write_all = [&]<class T>(const std::map<std::string, std::vector<T>>& data_sets) {
      for (const auto& [name, values] : data_sets) {
        file.write<T>(name, values, {static_cast<std::int64_t>(values.size())});
      }
    };
    write_all(numbers);
    write_all(offsets);
    for (const auto& [name, value] : bytes) file.write_string(name, value);
    if (!kind.empty()) file.attribute_string("kind", kind);
    if (!task.empty()) file.attribute_string("task", task);
    if (!scores.empty()) {
      file.write<float>("/splits/train/score", scores, {static_cast<std::int64_t>(scores.size())});
    }
    file.attribute_int("format_version", version);
    file.attribute_int("max_length", max_length);
    file.attribute_int("vocabulary_size", vocabulary_size);
    file.commit();
  }
};

TEST(TokenStore, ReadsAStoreWrittenByHand) {
  const TemporaryFolder folder;
  RawStore().write(folder.path() / "store.h5");
  const TokenStore store = read_token_store(folder.path() / "store.h5");
  EXPECT_THAT(store.documents.row(1), ElementsAre(2, 6, 7, 3));
  EXPECT_THAT(store.documents.ids, ElementsAre("d1", "d2"));
  EXPECT_THAT(store.same_document, ElementsAre(1));
  EXPECT_THAT(read_store_texts(store.path).documents, ElementsAre("a", "b"));
}

TEST(TokenStore, ScoredPairsKeepTaskAndScores) {
  const TemporaryFolder folder;
  Collection collection = example();
  collection.task = Task::kSimilarity;
  collection.splits = {{"dev", {{0, 1, 0, 2.5f}, {0, 1, 0, -1.0f}, {2, 0, 0, 0.0f}}}};
  write_token_store(collection, tokenizer(), cut_at(16), 1, folder.path() / "store.h5");
  const TokenStore store = read_token_store(folder.path() / "store.h5");
  EXPECT_EQ(store.task, Task::kSimilarity);
  EXPECT_THAT(store.split("dev").query, ElementsAre(0, 2));
  EXPECT_THAT(store.split("dev").document, ElementsAre(1, 1, 0));
  EXPECT_THAT(store.split("dev").score, ElementsAre(2.5f, -1.0f, 0.0f));
}

struct Fault {
  const char* name;
  std::function<void(RawStore&)> spoil;
  const char* message;
};

class TokenStoreFault : public ::testing::TestWithParam<Fault> {};

TEST_P(TokenStoreFault, IsNamed) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "store.h5";
  RawStore store;
  GetParam().spoil(store);
  store.write(path);
  EXPECT_THAT(message_of([&] { read_token_store(path); }),
              AllOf(HasSubstr(path.string()), HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    Attributes, TokenStoreFault,
    ::testing::Values(
        Fault{"Kind", [](RawStore& s) { s.kind = "checkpoint"; },
              "not a token store (attribute kind is \"checkpoint\")"},
        Fault{"NoKind", [](RawStore& s) { s.kind = ""; }, "not a token store"},
        Fault{"Version", [](RawStore& s) { s.version = 2; }, "format_version is 2, this program reads 1"},
        Fault{"Task", [](RawStore& s) { s.task = "dance"; }, "attribute task is \"dance\""},
        Fault{"SimilarityWithoutScores", [](RawStore& s) { s.task = "similarity"; },
              "/splits/train: has no scores"},
        Fault{"LongestRow", [](RawStore& s) { s.max_length = 5; },
              "max_length is 5, but the longest row has 4"},
        Fault{"LengthNegative", [](RawStore& s) { s.max_length = -1; }, "attribute max_length is -1"},
        Fault{"Vocabulary", [](RawStore& s) { s.vocabulary_size = std::int64_t{1} << 40; },
              "vocabulary_size is 1099"}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Tables, TokenStoreFault,
    ::testing::Values(Fault{"TokenTooLarge", [](RawStore& s) { s.numbers["/documents/tokens"][5] = 8; },
                            "/documents/tokens: row 1: token id 8 lies outside [0, 8)"},
                      Fault{"TokenNegative", [](RawStore& s) { s.numbers["/queries/tokens"][0] = -1; },
                            "/queries/tokens: row 0: token id -1"},
                      Fault{"EmptyRow",
                            [](RawStore& s) {
                              s.offsets["/documents/offsets"] = {0, 0, 7};
                            },
                            "/documents/offsets: row 0 is empty"},
                      Fault{"FallingOffsets",
                            [](RawStore& s) {
                              s.offsets["/documents/offsets"] = {0, 5, 3, 7};
                            },
                            "/documents/offsets: row 1: [5, 3)"},
                      Fault{"HugeOffset",
                            [](RawStore& s) {
                              s.offsets["/documents/offsets"] = {0, INT64_MAX, 7};
                            },
                            "/documents/offsets: row 0: [0, 9223372036854775807) is not a part of 7"},
                      Fault{"OffsetsEndEarly",
                            [](RawStore& s) {
                              s.offsets["/documents/offsets"] = {0, 3, 6};
                            },
                            "/documents/offsets: ends with 6, but there are 7"},
                      Fault{"OffsetsBeginLate",
                            [](RawStore& s) {
                              s.offsets["/queries/offsets"] = {1, 3};
                            },
                            "/queries/offsets: begins with 1"},
                      Fault{"NoRows", [](RawStore& s) { s.offsets["/queries/offsets"] = {0}; },
                            "/queries/offsets: has no rows"},
                      Fault{"TooFewIds",
                            [](RawStore& s) {
                              s.offsets["/documents/id_offsets"] = {0, 4};
                            },
                            "/documents/id_offsets: has 1 rows, but the table has 2"},
                      Fault{"IdTwice", [](RawStore& s) { s.bytes["/documents/ids"] = "d1d1"; },
                            "/documents/ids: row 1: id \"d1\" occurs twice"},
                      Fault{"NoTokens", [](RawStore& s) { s.numbers.erase("/documents/tokens"); },
                            "/documents/tokens"},
                      Fault{"NoTokenizer", [](RawStore& s) { s.bytes.erase("/tokenizer"); }, "/tokenizer"}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Splits, TokenStoreFault,
    ::testing::Values(Fault{"QueryRow", [](RawStore& s) { s.numbers["/splits/train/query"] = {1}; },
                            "/splits/train/query: row 0: query row 1 lies outside [0, 1)"},
                      Fault{"QueryTwice",
                            [](RawStore& s) {
                              s.numbers["/splits/train/query"] = {0, 0};
                              s.offsets["/splits/train/offsets"] = {0, 1, 2};
                            },
                            "/splits/train/query: row 1: queries are not in ascending order"},
                      Fault{"DocumentRow",
                            [](RawStore& s) {
                              s.numbers["/splits/train/document"] = {0, 2};
                            },
                            "/splits/train/document: row 0: document row 2 lies outside [0, 2)"},
                      Fault{"Grades", [](RawStore& s) { s.numbers["/splits/train/grade"] = {1}; },
                            "/splits/train/grade"},
                      Fault{"Scores", [](RawStore& s) { s.scores = {1}; }, "/splits/train/score"},
                      Fault{"ScoreNaN",
                            [](RawStore& s) {
                              s.scores = {1, NAN};
                            },
                            "/splits/train/score: element 1 is nan"},
                      Fault{"Offsets",
                            [](RawStore& s) {
                              s.offsets["/splits/train/offsets"] = {0, 1, 2};
                            },
                            "/splits/train/offsets: has 2 rows for 1 queries"},
                      Fault{"NoSplit",
                            [](RawStore& s) {
                              for (const char* name : {"query", "document", "grade"}) {
                                s.numbers.erase(std::string("/splits/train/") + name);
                              }
                              s.offsets.erase("/splits/train/offsets");
                            },
                            "/splits"}),
    [](const auto& info) { return info.param.name; });

TEST(TokenStore, TextsAreCheckedWhenRead) {
  const TemporaryFolder folder;
  RawStore store;
  store.offsets["/documents/text_offsets"] = {0, 2};
  store.write(folder.path() / "store.h5");
  EXPECT_THAT(message_of([&] { read_store_texts(folder.path() / "store.h5"); }),
              HasSubstr("/documents/text_offsets: has 1 rows, but the table has 2"));
}

TEST(TokenStore, NoticesAByteThatChanged) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "store.h5";
  RawStore store;
  store.numbers["/documents/tokens"] = {2, 5, 3, 2, 6, 0x07, 3};
  store.vocabulary_size = 1000;
  store.write(path);
  std::string content = folder.read("store.h5");
  const std::string row("\x02\0\0\0\x06\0\0\0\x07\0\0\0\x03\0\0\0", 16);
  const std::size_t at = content.find(row);
  ASSERT_NE(at, std::string::npos);
  content[at + 8] = 0x08;  // still a token id of the vocabulary
  folder.write("store.h5", content);
  EXPECT_THAT(message_of([&] { read_token_store(path); }), HasSubstr("/documents/tokens"));
}

}  // namespace
}  // namespace toller
