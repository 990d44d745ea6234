// Scored pairs of sentences: both layouts, distinct sentences, and what is refused.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "data/bad_file.h"
#include "data/collection.h"
#include "temporary_folder.h"

namespace toller {
namespace {

using ::testing::HasSubstr;

const char* const kPlain = "score\tsentence1\tsentence2\n2.5\tone\ttwo\n-1e1\tthree\ttwo\n0\tone\tthree\n";
const char* const kSts =
    "main-captions\tMSRvid\t2012test\t0001\t5.000\tA \"plane.\tAn air plane.\n"
    "main-news\theadlines\t2013\t7\t0.25\tone\ttwo\tlicence\tmore\n";

std::string text(const std::vector<TextRecord>& records, std::int32_t row) {
  return records.at(row).text;
}

TEST(ScoredPairs, SentencesAreRowsAndPairsKeepTheirScores) {
  const TemporaryFolder folder;
  folder.write("pairs/train.tsv", kPlain);
  folder.write("pairs/dev.tsv", "1\tone\tfour\n");
  const Collection collection = read_collection(folder.path());
  EXPECT_EQ(collection.task, Task::kSimilarity);
  EXPECT_EQ(collection.queries.size(), 2u) << "one and three, each once";
  EXPECT_EQ(collection.documents.size(), 3u);
  const auto& pairs = collection.splits.at("train");
  ASSERT_EQ(pairs.size(), 3u);
  EXPECT_TRUE(std::ranges::is_sorted(pairs, {}, &Judgement::query));
  std::set<std::string> seen;
  for (const Judgement& pair : pairs) {
    seen.insert(fmt::format("{} {} {}", text(collection.queries, pair.query),
                            text(collection.documents, pair.document), pair.score.value()));
  }
  EXPECT_EQ(seen, (std::set<std::string>{"one two 2.5", "three two -10", "one three 0"}));
}

TEST(ScoredPairs, ReadsTheStsBenchmarksFiles) {
  const TemporaryFolder folder;
  folder.write("sts-test.csv", kSts);
  const Collection collection = read_collection(folder.path());
  const auto& pairs = collection.splits.at("test");
  ASSERT_EQ(pairs.size(), 2u);
  EXPECT_EQ(pairs[0].score, 5.0f);
  EXPECT_EQ(text(collection.queries, pairs[0].query), "A \"plane.");
  EXPECT_EQ(text(collection.documents, pairs[1].document), "two");
}

TEST(ScoredPairs, ACorpusComesFirst) {
  const TemporaryFolder folder;
  folder.write("sts-test.csv", kSts);
  folder.write("corpus.jsonl", "");
  EXPECT_THAT(message_of([&] { read_collection(folder.path()); }),
              HasSubstr("corpus.jsonl: holds no records"));
}

class BadPairs : public ::testing::TestWithParam<BadFile> {};

TEST_P(BadPairs, NamesFileAndLine) {
  const TemporaryFolder folder;
  expect_named(GetParam(), folder, [](const auto& path) { read_collection(path); });
}

INSTANTIATE_TEST_SUITE_P(
    Files, BadPairs,
    ::testing::Values(
        BadFile{"pairs/dev.tsv", "1\ta\tb\n2\ta\n", ":2: expected 3 fields separated by tabs, found 2"},
        BadFile{"pairs/dev.tsv", "1\ta\tb\tc\n", ":1: expected 3 fields separated by tabs, found 4"},
        BadFile{"pairs/dev.tsv", "high\ta\tb\n", ":1: score \"high\" is not a finite number"},
        BadFile{"pairs/dev.tsv", "nan\ta\tb\n", ":1: score \"nan\" is not a finite number"},
        BadFile{"pairs/dev.tsv", "1e99\ta\tb\n", ":1: score \"1e99\" is not a finite number"},
        BadFile{"pairs/dev.tsv", "1\ta\t \n", ":1: sentence 2 is empty"},
        BadFile{"pairs/dev.tsv", "score\tsentence1\tsentence2\n", "holds no pairs"},
        BadFile{"pairs/a b.tsv", "1\ta\tb\n", "\"a b\" is no name for a split"},
        BadFile{"sts-dev.csv", "genre\tfile\tyear\tid\t5\tone\n", ":1: expected 7 fields"}));

TEST(ScoredPairs, ASplitThatIsThereTwiceIsRefused) {
  const TemporaryFolder folder;
  folder.write("pairs/dev.tsv", "1\ta\tb\n");
  folder.write("sts-dev.csv", kSts);
  EXPECT_THAT(message_of([&] { read_collection(folder.path()); }), HasSubstr("split 'dev' is in pairs/ too"));
}

}  // namespace
}  // namespace toller
