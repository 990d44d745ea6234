// Training examples as JSON lines and tables: the collection that they make, and what is refused.
#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "compressed_bytes.h"
#include "data/bad_file.h"
#include "data/collection.h"
#include "data/token_store.h"
#include "temporary_folder.h"

namespace toller {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

/// "query id: query > document id: document = grade score", for each judgement of a split.
std::vector<std::string> judgements(const Collection& collection, const std::string& split = "train") {
  std::vector<std::string> found;
  for (const Judgement& judgement : collection.splits.at(split)) {
    const TextRecord &query = collection.queries.at(judgement.query),
                     &document = collection.documents.at(judgement.document);
    found.push_back(fmt::format("{}: {} > {}: {} = {}", query.id, query.text, document.id, document.text,
                                judgement.grade));
    if (judgement.score) found.back() += fmt::format(" {}", *judgement.score);
  }
  return found;
}

Collection read_lines(const std::string& content, const char* name = "a.jsonl", ReadOptions options = {}) {
  const TemporaryFolder folder;
  return read_collection(folder.write(name, content), options);
}

const char* const kTriples =
    R"({"query_id": "q7", "query": "what", "positive_passages": [{"docid": "a", "title": "One", "text": "x"}], )"
    R"("negative_passages": [{"docid": "b", "title": "", "text": "y"}, {"docid": "c", "text": "z"}], "more": 1})"
    "\n"
    R"({"query_id": 8, "query": "why", "positive_passages": [{"docid": 12, "title": null, "text": "y"}, )"
    R"({"docid": "a", "title": "One", "text": "x"}], "negative_passages": []})"
    "\n";

TEST(Examples, TriplesKeepTheirIds) {
  const Collection collection = read_lines(kTriples);
  EXPECT_EQ(collection.task, Task::kRetrieval);
  EXPECT_THAT(judgements(collection),
              ElementsAre("q7: what > a: One x = 1", "q7: what > b: y = 0", "q7: what > c: z = 0",
                          "8: why > a: One x = 1", "8: why > 12: y = 1"));
  EXPECT_EQ(collection.documents.size(), 4u) << "y is there twice, with two ids";
  EXPECT_THAT(collection.notes, IsEmpty());
}

TEST(Examples, TextsWithoutIdsAreTheSameIfTheyAreEqual) {
  const Collection collection = read_lines(R"({"query": "what", "pos": ["x", "y"], "neg": ["z"]})"
                                           "\n"
                                           R"({"query": "why", "pos": ["z"], "neg": null})"
                                           "\n"
                                           R"({"query": "what", "pos": "w"})"
                                           "\n");
  EXPECT_THAT(judgements(collection),
              ElementsAre("q1: what > d1: x = 1", "q1: what > d2: y = 1", "q1: what > d3: z = 0",
                          "q1: what > d4: w = 1", "q2: why > d3: z = 1"));
}

TEST(Examples, IdsThatAreMadeDoNotMeetGivenOnes) {
  const Collection collection =
      read_lines(R"({"query_id": "q2", "query": "a", "positive_passages": [{"docid": "d2", "text": "x"}]})"
                 "\n"
                 R"({"query": "b", "positive_passages": [{"text": "x"}]})"
                 "\n");
  EXPECT_THAT(judgements(collection), ElementsAre("q2: a > d2: x = 1", "q2_: b > d2_: x = 1"));
}

TEST(Examples, AnchorsListsAndNumberedNegatives) {
  const Collection objects =
      read_lines(R"({"anchor": "a", "positive": "x", "negative_1": "y", "negative_2": "z", "negative_x": 7})"
                 "\n"
                 R"({"anchor": "a", "positive": "w", "negative": "y"})"
                 "\n"
                 R"(["b", "x"])"
                 "\n"
                 R"(["b", "z", "w"])"
                 "\n");
  EXPECT_THAT(
      judgements(objects),
      UnorderedElementsAre("q1: a > d1: x = 1", "q1: a > d2: y = 0", "q1: a > d3: z = 0", "q1: a > d4: w = 1",
                           "q2: b > d1: x = 1", "q2: b > d3: z = 1", "q2: b > d4: w = 0"));
}

TEST(Examples, ScoresOfATeacher) {
  EXPECT_THAT(
      judgements(read_lines(
          R"({"query": "a", "pos": ["x"], "neg": ["y", "z"], "pos_scores": [2], "neg_scores": [0.5, -1e1]})")),
      ElementsAre("q1: a > d1: x = 1 2", "q1: a > d2: y = 0 0.5", "q1: a > d3: z = 0 -10"));
  EXPECT_THAT(judgements(read_lines(R"({"query": "a", "positive_passages": [{"text": "x", "score": 2.5}]})")),
              ElementsAre("q1: a > d1: x = 1 2.5"));
  EXPECT_THAT(judgements(read_lines(R"({"query": "a", "pos": ["x"], "pos_scores": [], "neg_scores": null})")),
              ElementsAre("q1: a > d1: x = 1"));
}

TEST(Examples, TablesHaveColumnsInAnyOrder) {
  EXPECT_THAT(judgements(read_lines("\xEF\xBB\xBFpositive\tanchor\r\nx\ta\r\n\"y\"\ta\r\n\r\n", "a.tsv")),
              ElementsAre("q1: a > d1: x = 1", "q1: a > d2: \"y\" = 1"));
  EXPECT_THAT(
      judgements(read_lines("query\tpos\tneg\tnegative_2\na\tx\ty\t\nb\ty\t\tz\n", "a.tsv.gz.tsv")),
      ElementsAre("q1: a > d1: x = 1", "q1: a > d2: y = 0", "q2: b > d2: y = 1", "q2: b > d3: z = 0"));
  EXPECT_THAT(judgements(read_lines("a\tx\ty\n", "a.tsv", {"query,positive,negative", {}})),
              ElementsAre("q1: a > d1: x = 1", "q1: a > d2: y = 0"));
}

TEST(Examples, TablesOfScoredPairs) {
  const Collection collection = read_lines("sentence1\tsentence2\tscore\na\tx\t0.5\na\ty\t3\n", "a.tsv");
  EXPECT_EQ(collection.task, Task::kSimilarity);
  EXPECT_THAT(judgements(collection), ElementsAre("a1: a > b1: x = 0 0.5", "a1: a > b2: y = 0 3"));
  EXPECT_EQ(read_lines("g\tf\ty\t1\t4.5\ta\tx\n", "sts-dev.csv").task, Task::kSimilarity);
}

TEST(Examples, AFolderHasASplitAFileAndSharesTexts) {
  const TemporaryFolder folder;
  folder.write("train.jsonl.gz", gzip_bytes(kTriples));
  folder.write("dev.tsv.zst", zstd_bytes("query\tpositive\nwho\tz\n"));
  folder.write("test.jsonl", kTriples);
  folder.write("README.md", "not an example");
  const Collection collection = read_collection(folder.path());
  EXPECT_EQ(collection.splits.size(), 3u);
  EXPECT_EQ(collection.splits.at("train").size(), 5u);
  EXPECT_EQ(judgements(collection), judgements(collection, "test"));
  EXPECT_THAT(judgements(collection, "dev"), ElementsAre("q1: who > d1: z = 1"));
  EXPECT_EQ(collection.documents.size(), 5u);
}

TEST(Examples, RepeatedPairsAreOneAndPositivesWin) {
  const Collection collection = read_lines(R"(["a", "x", "y"])"
                                           "\n"
                                           R"(["a", "x", "z"])"
                                           "\n"
                                           R"(["a", "y", "z"])"
                                           "\n");
  EXPECT_THAT(judgements(collection),
              ElementsAre("q1: a > d1: x = 1", "q1: a > d2: y = 1", "q1: a > d3: z = 0"));
  EXPECT_THAT(collection.notes,
              ElementsAre(HasSubstr(
                  "a.jsonl: documents that are both positive and negative of a query are positive: 1")));
}

TEST(Examples, SayThatPromptsAreNotTakenOver) {
  EXPECT_THAT(read_lines(R"({"query": "a", "pos": ["x"], "prompt": "Find: "})").notes,
              ElementsAre(AllOf(HasSubstr("a.jsonl: prompts that are not taken over"), HasSubstr(": 1"))));
}

/// expected.json was made by tests/reference/input_forms_reference.py, which read these files on its own.
TEST(Examples, AllFormsAsAnotherReaderHasThem) {
  const std::filesystem::path folder = TOLLER_SOURCE_DIR "/tests/data/fixtures/input_forms";
  const auto expected = nlohmann::json::parse(read_bytes(folder / "expected.json"));
  for (const auto& [name, form] : expected.items()) {
    SCOPED_TRACE(name);
    const Collection collection = read_collection(folder / form["path"].get<std::string>());
    ASSERT_EQ(collection.splits.size(), form["splits"].size());
    for (const auto& [split, rows] : form["splits"].items()) {
      nlohmann::json found = nlohmann::json::array();
      const bool has_ids = !rows[0][0][0].is_null();
      const auto pair = [&](const TextRecord& record) {
        return nlohmann::json{has_ids ? nlohmann::json(record.id) : nlohmann::json(), record.text};
      };
      for (const Judgement& judgement : collection.splits.at(split)) {
        found.push_back({pair(collection.queries[judgement.query]),
                         pair(collection.documents[judgement.document]), judgement.grade,
                         judgement.score ? nlohmann::json(*judgement.score) : nlohmann::json()});
      }
      const std::multiset<nlohmann::json> found_rows(found.begin(), found.end()),
          rows_there(rows.begin(), rows.end());
      EXPECT_EQ(found_rows, rows_there) << split;
    }
  }
}

TEST(Examples, TriplesGiveTheStoreOfTheBeirLayout) {
  const std::filesystem::path forms = TOLLER_SOURCE_DIR "/tests/data/fixtures/input_forms";
  const TemporaryFolder folder;
  const auto vocabulary =
      folder.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\namber\nfjord\nete\na\n##b\n1\n2\n");
  const Tokenizer tokenizer = Tokenizer::load(vocabulary.string());
  const TextForm form{{"", 16}, {"", 16}};
  for (const char* name : {"beir", "triples"}) {
    write_token_store(read_collection(forms / name), tokenizer, form, 1,
                      folder / (std::string(name) + ".h5"));
  }
  EXPECT_TRUE(folder.read("beir.h5") == folder.read("triples.h5"));
}

class BadExamples : public ::testing::TestWithParam<BadFile> {};

TEST_P(BadExamples, AreNamedByFileAndLine) {
  expect_named(GetParam(), TemporaryFolder(), [](const auto& path) { read_collection(path); });
}

const std::string kGood = "{\"query\": \"a\", \"pos\": [\"x\"]}\n";

INSTANTIATE_TEST_SUITE_P(
    Json, BadExamples,
    ::testing::Values(
        BadFile{"train.jsonl", kGood + "{\"query\": \"a\", \"pos\"\n", ":2: broken JSON near column"},
        BadFile{"train.jsonl", kGood + "{\"query\": \"a\", \"pos\": [\"x\"], \"pos_scores\": [NaN]}\n",
                ":2: broken JSON"},
        BadFile{"train.jsonl", kGood + "7\n", ":2: expected a JSON object or list, found number"},
        BadFile{"train.jsonl", "{\"pos\": [\"x\"]}\n", ":1: field \"query\" (or \"anchor\") is missing"},
        BadFile{"train.jsonl", "{\"query\": \"x\"}\n",
                ":1: field \"positive_passages\" (or \"pos\", or \"positive\")"},
        BadFile{"train.jsonl", "{\"query\": 7, \"pos\": [\"x\"]}\n",
                ":1: field \"query\" is not a string but number"},
        BadFile{"train.jsonl", "{\"query\": \"a\", \"pos\": [7]}\n", ":1: field \"pos\" holds number"},
        BadFile{"train.jsonl", "{\"query\": \"a\", \"pos\": []}\n", ":1: the query has no positives"},
        BadFile{"train.jsonl", "{\"query\": \" \", \"pos\": [\"x\"]}\n",
                ":1: the text of the query is empty"},
        BadFile{"train.jsonl", "{\"query\": \"a\", \"pos\": [\"\"]}\n",
                ":1: the text of a positive is empty"},
        BadFile{"train.jsonl", "{\"query\": \"a\", \"pos\": [\"x\"], \"neg\": [\"\\u00a0\"]}\n",
                ":1: the text of a negative is empty"},
        BadFile{"train.jsonl", "{\"query\": \"a\", \"positive_passages\": [{\"docid\": \"1\"}]}\n",
                ":1: field \"text\" is missing"},
        BadFile{"train.jsonl",
                "{\"query\": \"a\", \"positive_passages\": [{\"docid\": [], \"text\": \"x\"}]}\n",
                ":1: field \"docid\" is not a string but array"},
        BadFile{"train.jsonl", "{\"query_id\": \"a\\tb\", \"query\": \"a\", \"pos\": [\"x\"]}\n",
                ":1: field \"query_id\" holds a tab"},
        BadFile{"train.jsonl", "[\"a\"]\n", ":1: a list of 1 instead of"},
        BadFile{"train.jsonl", "[\"a\", \"b\", \"c\", \"d\"]\n", ":1: a list of 4 instead of"},
        BadFile{"train.jsonl", "[\"a\", [\"b\"]]\n", ":1: the list holds array where a text belongs"},
        BadFile{"train.jsonl", kGood + "\n" + kGood, ":2: empty line"},
        BadFile{"train.jsonl", "", "holds no examples"},
        BadFile{"train.jsonl.gz", kGood, "is not a gzip file"},
        BadFile{"a b.jsonl", kGood, "\"a b\" is no name for a split"}));

INSTANTIATE_TEST_SUITE_P(
    Scores, BadExamples,
    ::testing::Values(
        BadFile{"train.jsonl", "{\"query\": \"a\", \"pos\": [\"x\"], \"pos_scores\": [1, 2]}\n",
                ":1: field \"pos_scores\" has 2 scores for 1 documents"},
        BadFile{"train.jsonl", "{\"query\": \"a\", \"pos\": [\"x\"], \"pos_scores\": 1}\n",
                ":1: field \"pos_scores\" is not a list but number"},
        BadFile{"train.jsonl", "{\"query\": \"a\", \"pos\": [\"x\"], \"pos_scores\": [\"1\"]}\n",
                ":1: field \"pos_scores\": a score is not a number but string"},
        BadFile{"train.jsonl", "{\"query\": \"a\", \"pos\": [\"x\"], \"pos_scores\": [1e300]}\n",
                ":1: field \"pos_scores\": 1e+300 is too large"},
        BadFile{"train.jsonl",
                "{\"query\": \"a\", \"pos\": [\"x\"], \"neg\": [\"y\"], \"pos_scores\": [1]}\n",
                ":1: a document lacks a teacher's score"},
        BadFile{"train.jsonl", kGood + "{\"query\": \"b\", \"pos\": [\"x\"], \"pos_scores\": [1]}\n",
                ":2: a document has a teacher's score, unlike"},
        BadFile{"train.jsonl",
                "{\"query\": \"b\", \"pos\": [\"x\"], \"pos_scores\": [1]}\n"
                "{\"query\": \"b\", \"pos\": [\"x\"], \"pos_scores\": [2]}\n",
                ":2: query \"b\" and document \"x\" have another score than at line 1"}));

INSTANTIATE_TEST_SUITE_P(
    Tables, BadExamples,
    ::testing::Values(
        BadFile{"train.tsv", "what\tthis\n", ":1: expected a header line with the names of the columns"},
        BadFile{"train.tsv", "query\tpositiv\nb\tx\n", ":1: column \"positiv\" is none of"},
        BadFile{"train.tsv", "query\tanchor\nb\tx\n", ":1: column \"anchor\" is there twice"},
        BadFile{"train.tsv", "query\tnegative\nb\tx\n", ":1: the columns must be query"},
        BadFile{"train.tsv", "sentence1\tsentence2\nb\tx\n", ":1: the columns must be query"},
        BadFile{"train.tsv", "query\tpositive\nb\n", ":2: expected 2 fields separated by tabs, found 1"},
        BadFile{"train.tsv", "query\tpositive\nb\t\n", ":2: the text of a positive is empty"},
        BadFile{"train.tsv", "query\tpositive\n", "holds no examples"},
        BadFile{"train.tsv", "score\tsentence1\tsentence2\nnan\ta\tb\n",
                ":2: score \"nan\" is not a finite number"},
        BadFile{"train.tsv", "", "is empty"}));

TEST(BadExampleFiles, AreNamed) {
  const TemporaryFolder folder;
  const auto message = [&](const std::filesystem::path& path) {
    return message_of([&] { read_collection(path); });
  };
  folder.write(
      "a/train.jsonl",
      "{\"query\": \"a\", \"positive_passages\": [{\"docid\": \"1\", \"title\": \"T\", \"text\": \"x\"}]}\n");
  folder.write("a/test.jsonl",
               "{\"query\": \"b\", \"positive_passages\": [{\"docid\": \"1\", \"text\": \"x\"}]}\n");
  EXPECT_THAT(
      message(folder / "a"),
      AllOf(HasSubstr("train.jsonl:1: document \"1\" has another text than at"), HasSubstr("test.jsonl:1")));
  folder.write("b/train.jsonl", kGood);
  folder.write("b/train.tsv", "query\tpositive\na\tx\n");
  EXPECT_THAT(message(folder / "b"), HasSubstr("train.tsv: train.jsonl is there too"));
  folder.write("c/train.jsonl", kGood);
  folder.write("c/train.jsonl.gz", gzip_bytes(kGood));
  EXPECT_THAT(message(folder / "c"), HasSubstr("train.jsonl.gz: train.jsonl is there too"));
  folder.write("d/train.tsv", "query\tpositive\na\tx\n");
  folder.write("d/dev.tsv", "score\tsentence1\tsentence2\n1\ta\tx\n");
  EXPECT_THAT(message(folder / "d"), HasSubstr("train.tsv: holds no scored pairs, unlike"));
  folder.write("e/train.jsonl", kGood);
  folder.write("e/pairs/train.tsv", "1\ta\tx\n");
  EXPECT_THAT(message(folder / "e"), HasSubstr("train.jsonl: stands beside pairs/"));
  folder.write("f/notes.txt", kGood);
  EXPECT_THAT(message(folder / "f"), HasSubstr("f: holds no collection"));
  EXPECT_THAT(message(folder / "f/notes.txt"), HasSubstr("notes.txt: the name of a collection's file"));
  EXPECT_THAT(message(folder / "g"), HasSubstr("g: no such file or folder"));
}

TEST(BadExampleFiles, ColumnsAreForTables) {
  const TemporaryFolder folder;
  const auto message = [&](const char* name, const char* columns) {
    return message_of([&] { read_collection(folder.write(name, kGood), {columns, {}}); });
  };
  EXPECT_THAT(message("a.jsonl", "query,positive"), HasSubstr("--columns is for .tsv files"));
  EXPECT_THAT(message("a.tsv", "query,text"), HasSubstr("--columns: column \"text\" is none of"));
}

}  // namespace
}  // namespace toller
