#include "data/collection.h"

#include <gmock/gmock.h>

#include "data/bad_file.h"
#include "temporary_folder.h"

namespace toller {

bool operator==(const TextRecord& a, const TextRecord& b) {
  return a.id == b.id && a.text == b.text;
}
bool operator==(const Judgement& a, const Judgement& b) {
  return a.query == b.query && a.document == b.document && a.grade == b.grade && a.score == b.score;
}

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const char* const kCorpus =
    "{\"_id\": \"d1\", \"title\": \"One\", \"text\": \"first text\"}\n"
    "{\"_id\": \"d2\", \"title\": \"\", \"text\": \"second\", \"metadata\": {\"year\": 7}}\n"
    "{\"_id\": \"d3\", \"text\": \"\\u00e9t\\u00e9\"}\n";
const char* const kQueries = "{\"_id\": \"q1\", \"text\": \"what\"}\n{\"_id\": \"q2\", \"text\": \"why\"}\n";
const char* const kQrels = "query-id\tcorpus-id\tscore\nq2\td3\t1\nq1\td2\t-1\nq2\td1\t2\n";

TemporaryFolder& fill(TemporaryFolder& folder) {
  folder.write("corpus.jsonl", kCorpus);
  folder.write("queries.jsonl", kQueries);
  folder.write("qrels/train.tsv", kQrels);
  return folder;
}

TEST(ReadBeir, ReadsTextsTitlesAndJudgements) {
  TemporaryFolder folder;
  const Collection collection = read_beir(fill(folder).path());
  EXPECT_THAT(collection.documents, ElementsAre(TextRecord{"d1", "One first text"},
                                                TextRecord{"d2", "second"}, TextRecord{"d3", "été"}));
  EXPECT_THAT(collection.queries, ElementsAre(TextRecord{"q1", "what"}, TextRecord{"q2", "why"}));
  ASSERT_EQ(collection.splits.size(), 1u);
  EXPECT_THAT(collection.splits.at("train"),
              ElementsAre(Judgement{0, 1, -1, {}}, Judgement{1, 0, 2, {}}, Judgement{1, 2, 1, {}}));
}

TEST(ReadBeir, ToleratesWindowsFilesMissingHeaderNullTitleAndOtherFiles) {
  TemporaryFolder folder;
  fill(folder);
  folder.write("corpus.jsonl",
               "\xEF\xBB\xBF{\"_id\":\"d1\",\"title\":null,\"text\":\"a\"}\r\n"
               "{\"_id\":\"d2\",\"title\":\"only a title\",\"text\":\"\"}\r\n\r\n");
  folder.write("qrels/train.tsv", "q1\td2\t1\r\n");
  folder.write("qrels/README.md", "not judgements");
  const Collection collection = read_beir(folder.path());
  EXPECT_THAT(collection.documents, ElementsAre(TextRecord{"d1", "a"}, TextRecord{"d2", "only a title"}));
  EXPECT_THAT(collection.splits.at("train"), ElementsAre(Judgement{0, 1, 1, {}}));
}

TEST(ReadBeir, ReadsTheScoresOfATeacher) {
  TemporaryFolder folder;
  fill(folder).write("qrels/train.tsv",
                     "query-id\tcorpus-id\tscore\tteacher\nq2\td3\t1\t-0.5\nq1\td2\t0\t3e1\n");
  const Collection collection = read_beir(folder.path());
  EXPECT_THAT(collection.splits.at("train"),
              ElementsAre(Judgement{0, 1, 0, 30.0f}, Judgement{1, 2, 1, -0.5f}));
  write_beir(collection, folder.path() / "copy");
  EXPECT_EQ(read_beir(folder.path() / "copy").splits, collection.splits);
}

class ReadBeirError : public ::testing::TestWithParam<BadFile> {};

TEST_P(ReadBeirError, NamesFileAndLine) {
  TemporaryFolder folder;
  expect_named(GetParam(), fill(folder), [](const auto& path) { read_beir(path); });
}

const std::string kTwoQueries = kQueries;

INSTANTIATE_TEST_SUITE_P(
    Records, ReadBeirError,
    ::testing::Values(
        BadFile{"corpus.jsonl", "{\"_id\": \"d1\", \"text\": \"a\"}\n{\"_id\": \"d2\", \"text\"\n",
                ":2: broken JSON near column 21: syntax error"},
        BadFile{"queries.jsonl", kTwoQueries + "{\"_id\": \"q3\", \"text\": \"a\"} x\n", ":3: broken JSON"},
        BadFile{"queries.jsonl", kTwoQueries + "{\"_id\": \"q3\", \"text\": \"\\ud800\"}\n",
                ":3: broken JSON"},
        BadFile{"queries.jsonl", kTwoQueries + "{\"_id\": \"q3\", \"text\": \"a\", \"n\": 1e999}\n",
                ":3: broken JSON: number overflow"},
        BadFile{"queries.jsonl", "[1]\n", ":1: expected a JSON object, found array"},
        BadFile{"queries.jsonl", "{\"id\": \"q1\", \"text\": \"a\"}\n", ":1: field \"_id\" is missing"},
        BadFile{"corpus.jsonl", "{\"_id\": \"d1\"}\n", ":1: field \"text\" is missing"},
        BadFile{"corpus.jsonl", "{\"_id\": 7, \"text\": \"a\"}\n",
                ":1: field \"_id\" is not a string but number"},
        BadFile{"corpus.jsonl", "{\"_id\": \"d1\", \"text\": null}\n",
                ":1: field \"text\" is not a string but null"},
        BadFile{"corpus.jsonl", "{\"_id\": \"d1\", \"title\": 3, \"text\": \"a\"}\n",
                ":1: field \"title\" is not"},
        BadFile{"corpus.jsonl", "{\"_id\": \"\", \"text\": \"a\"}\n", ":1: field \"_id\" is empty"},
        BadFile{"corpus.jsonl", "{\"_id\": \"a\\tb\", \"text\": \"a\"}\n", ":1: field \"_id\" holds a tab"},
        BadFile{"queries.jsonl", kTwoQueries + "{\"_id\": \"q3\", \"text\": \" \\t\"}\n",
                ":3: the text of \"q3\" is"},
        BadFile{"corpus.jsonl", "{\"_id\": \"d1\", \"title\": \"\", \"text\": \"\\u00a0\"}\n",
                ":1: the text of \"d1\""},
        BadFile{"queries.jsonl", kTwoQueries + kTwoQueries, ":3: id \"q1\" occurs twice, first at line 1"},
        BadFile{"corpus.jsonl", "{\"_id\": \"d1\", \"text\": \"\xFF\"}\n", ":1: byte 24 is not valid UTF-8"},
        BadFile{"corpus.jsonl", kTwoQueries + "\n" + kTwoQueries, ":3: empty line"},
        BadFile{"corpus.jsonl", "", "holds no records"}));

INSTANTIATE_TEST_SUITE_P(
    Qrels, ReadBeirError,
    ::testing::Values(
        BadFile{"qrels/train.tsv", "query-id\tcorpus-id\tscore\nq1\td9\t1\n",
                ":2: document \"d9\" is not in corpus"},
        BadFile{"qrels/train.tsv", "query-id\tcorpus-id\tscore\nq9\td1\t1\n",
                ":2: query \"q9\" is not in queries"},
        BadFile{"qrels/train.tsv", "q1\td1\t1\nq1\td2\t1.5\n", ":2: score \"1.5\" is not an integer"},
        BadFile{"qrels/train.tsv", "q1\td1\t1\nq1\td2\t\n", ":2: score \"\" is not an integer"},
        BadFile{"qrels/train.tsv", "q1\td1\t99999999999\n", ":1: score \"99999999999\""},
        BadFile{"qrels/train.tsv", "q1 0 d1 1\n", "or 4 with a teacher's score, found 1"},
        BadFile{"qrels/train.tsv", "q1\t0\td1\t1\n", ":1: document \"0\" is not in corpus"},
        BadFile{"qrels/train.tsv", "q1\td1\t1\t1\t1\n", ":1: expected 3 fields separated by tabs, or 4"},
        BadFile{"qrels/train.tsv", "q1\td1\t1\tinf\n", ":1: teacher's score \"inf\" is not a finite number"},
        BadFile{"qrels/train.tsv", "q1\td1\t1\t0.5\nq1\td2\t1\n", ":2: lacks a teacher's score"},
        BadFile{"qrels/train.tsv", "q1\td1\t1\nq1\td2\t1\t2\n", ":2: has a teacher's score"},
        BadFile{"qrels/train.tsv", "query\tdocument\tgrade\nq1\td1\t1\n",
                ":1: query \"query\" is not in queries"},
        BadFile{"qrels/train.tsv", "q1\td1\t1\nq1\td2\t1\nq1\td1\t2\n",
                ":3: query \"q1\" and document \"d1\" are judged twice, first at line 1"},
        BadFile{"qrels/train.tsv", "query-id\tcorpus-id\tscore\n", "holds no judgements"},
        BadFile{"qrels/a b.tsv", "q1\td1\t1\n", "\"a b\" is no name for a split"}));

TEST(ReadBeir, NamesWhatIsMissing) {
  TemporaryFolder folder;
  EXPECT_THAT(message_of([] { read_beir("/nowhere/collection"); }),
              HasSubstr("/nowhere/collection: no such folder"));
  EXPECT_THAT(message_of([&] { read_beir(folder.path()); }), HasSubstr("corpus.jsonl: cannot open"));
  fill(folder);
  std::filesystem::remove_all(folder.path() / "qrels");
  EXPECT_THAT(message_of([&] { read_beir(folder.path()); }), HasSubstr("qrels: holds no qrels file"));
}

Collection example() {
  Collection collection;
  collection.documents = {{"d/1", "quotes \" and \\ and\nnew lines"}, {"d 2", " été \u4E00 "}};
  collection.queries = {{"q1", "tab\tinside"}, {"q2", "two"}};
  collection.splits["train"] = {{0, 0, 2, {}}, {0, 1, 0, {}}};
  collection.splits["test"] = {{1, 1, -3, {}}};
  return collection;
}

TEST(WriteBeir, WhatIsWrittenIsRead) {
  const TemporaryFolder folder;
  const Collection written = example();
  write_beir(written, folder.path() / "made" / "here");
  const Collection read = read_beir(folder.path() / "made" / "here");
  EXPECT_EQ(read.documents, written.documents);
  EXPECT_EQ(read.queries, written.queries);
  EXPECT_EQ(read.splits, written.splits);
}

TEST(WriteBeir, WritesTheLayoutThatOthersRead) {
  const TemporaryFolder folder;
  write_beir(example(), folder.path());
  EXPECT_EQ(folder.read("queries.jsonl"),
            "{\"_id\":\"q1\",\"text\":\"tab\\tinside\"}\n{\"_id\":\"q2\",\"text\":\"two\"}\n");
  EXPECT_THAT(folder.read("corpus.jsonl"),
              HasSubstr("{\"_id\":\"d/1\",\"title\":\"\",\"text\":\"quotes \\\" and"));
  EXPECT_EQ(folder.read("qrels/train.tsv"), "query-id\tcorpus-id\tscore\nq1\td/1\t2\nq1\td 2\t0\n");
}

TEST(WriteBeir, DoesNotMixCollections) {
  TemporaryFolder folder;
  folder.write("qrels/validation.tsv", "q1\td1\t1\n");
  EXPECT_THAT(message_of([&] { write_beir(example(), folder.path()); }),
              HasSubstr("validation.tsv: belongs to another collection"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "corpus.jsonl"));
}

TEST(WriteBeir, RefusesTextThatIsNotUtf8) {
  const TemporaryFolder folder;
  Collection collection = example();
  collection.documents[1].text = "\xFF";
  EXPECT_THAT(message_of([&] { write_beir(collection, folder.path()); }), HasSubstr("record \"d 2\""));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "corpus.jsonl"));
}

}  // namespace
}  // namespace toller
