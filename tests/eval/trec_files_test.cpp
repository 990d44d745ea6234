#include "eval/trec_files.h"

#include <gtest/gtest.h>

#include "error.h"
#include "temporary_folder.h"

namespace toller {
namespace {

/// The message of the Error that `action` throws; empty if it throws none.
template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

class TrecFiles : public ::testing::Test {
 protected:
  std::string run_error(const std::string& content) {
    return error_of([&] { read_trec_run(folder_.write("run", content)); });
  }
  std::string qrels_error(const std::string& content) {
    return error_of([&] { read_qrels(folder_.write("qrels", content)); });
  }
  TemporaryFolder folder_;
};

TEST_F(TrecFiles, ReadsARun) {
  const auto path =
      folder_.write("run", "# comment\nq2 Q0 d1 7 -1.5e-1 first\n\nq1\tQ0\td1\t1\t+2\tlast and more\r\n");
  const TrecRun run = read_trec_run(path);
  EXPECT_EQ(run.tag, "last");
  ASSERT_EQ(run.queries.size(), 2);
  EXPECT_EQ(run.queries.at("q2")[0].id, "d1");
  EXPECT_EQ(run.queries.at("q2")[0].score, -0.15F);
  EXPECT_EQ(run.queries.at("q1")[0].score, 2);
}

TEST_F(TrecFiles, RunErrorsNameFileAndLine) {
  EXPECT_NE(run_error("q Q0 d 1 1 t\nq Q0 e 1 1\n").find("run:2: expected six fields"), std::string::npos);
  EXPECT_NE(run_error("q Q0 d 1 nan t\n").find("run:1: the score 'nan' is not a finite number"),
            std::string::npos);
  EXPECT_NE(run_error("q Q0 d 1 1e99 t\n").find("run:1: the score"), std::string::npos);
  EXPECT_NE(run_error("q Q0 d 1 1x t\n").find("run:1: the score"), std::string::npos);
  EXPECT_NE(
      run_error("q Q0 d 1 1 t\np Q0 d 1 1 t\nq Q0 d 2 0 t\n").find("run:3: query 'q' has document 'd' twice"),
      std::string::npos);
  EXPECT_NE(run_error("\n").find("empty"), std::string::npos);
  EXPECT_NE(error_of([&] { read_trec_run(folder_.path() / "none"); }).find("cannot open"), std::string::npos);
}

TEST_F(TrecFiles, ReadsQrelsOfTrecAndOfBeir) {
  const Qrels expected{{"q", {{"d", 2}, {"e", -1}}}};
  EXPECT_EQ(read_qrels(folder_.write("a", "q 0 d 2\nq 0 e -1\n")), expected);
  EXPECT_EQ(read_qrels(folder_.write("b", "query-id\tcorpus-id\tscore\nq\td\t2\nq\te\t-1\n")), expected);
}

TEST_F(TrecFiles, QrelsErrorsNameFileAndLine) {
  EXPECT_NE(qrels_error("q 0 d 1\nq 0 e\n").find("qrels:2: expected 4 fields"), std::string::npos);
  EXPECT_NE(qrels_error("query-id corpus-id score\nq 0 d 1\n").find("qrels:2: expected 3 fields"),
            std::string::npos);
  EXPECT_NE(qrels_error("query-id corpus-id score\n").find("no judgement"), std::string::npos);
  EXPECT_NE(qrels_error("q 0 d 1.5\n").find("qrels:1: the grade '1.5'"), std::string::npos);
  EXPECT_NE(qrels_error("q 0 d 1001\n").find("qrels:1: the grade '1001'"), std::string::npos);
  EXPECT_NE(qrels_error("q 0 d 1\nq 0 d 1\n").find("qrels:2: document 'd' is judged twice"),
            std::string::npos);
}

TEST_F(TrecFiles, TiesGoByDocumentIdDescendingAsBytes) {
  std::vector<ScoredDocument> ranking{{"a", 1}, {"B", 1}, {"\xC3\xA9", 1}, {"aa", 1}, {"z", 2}};
  sort_as_trec_eval(ranking);
  std::string order;
  for (const ScoredDocument& document : ranking) order += document.id + " ";
  EXPECT_EQ(order, "z \xC3\xA9 aa a B ");
}

TEST_F(TrecFiles, WritesWhatItReads) {
  const TrecRun run{"tag", {{"q", {{"d", 0.1F}, {"e", 0.3F}, {"f", 0.1F}}}}};
  const auto path = folder_.path() / "out";
  write_trec_run(run, path);
  const auto read = read_trec_run(path).queries.at("q");
  ASSERT_EQ(read.size(), 3);
  EXPECT_EQ(read[0].id, "e");
  EXPECT_EQ(read[0].score, 0.3F);  // every digit
  EXPECT_EQ(read[1].id, "f");
  EXPECT_EQ(read[2].id, "d");

  const Qrels qrels{{"q", {{"d", 1}, {"e", -2}}}};
  write_qrels(qrels, path);
  EXPECT_EQ(read_qrels(path), qrels);
}

TEST_F(TrecFiles, AnIdWithABlankLeavesTheOldFile) {
  const auto path = folder_.write("out", "old");
  EXPECT_NE(error_of([&] {
              write_trec_run({"t", {{"q", {{"d 1", 1}}}}}, path);
            }).find("'d 1'"),
            std::string::npos);
  EXPECT_EQ(std::filesystem::file_size(path), 3);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1);
}

}  // namespace
}  // namespace toller
