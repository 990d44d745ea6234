// Every measure that trec_eval 9.0.7 and Toller both have, on trec_eval's own test files, to all printed
// digits.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "eval/run_evaluation.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

const fs::path kFolder = fs::path(TOLLER_SOURCE_DIR) / ".." / "shared" / "data" / "trec_eval";

/// Printed values by "measure query", as trec_eval writes them.
using Printed = std::map<std::pair<std::string, std::string>, std::string>;

Printed read_printed(const std::string& name) {
  std::ifstream file(kFolder / name);
  Printed printed;
  std::string measure, query, value;
  while (file >> measure >> query >> value) printed[{measure, query}] = value;
  return printed;
}

Printed print(const RunEvaluation& evaluation) {
  Printed printed;
  const auto add = [&](const std::string& query, const std::vector<double>& values) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const bool whole = evaluation.metrics[i].averaging == Averaging::kSum;
      printed[{evaluation.metrics[i].name, query}] = fmt::format("{:.{}f}", values[i], whole ? 0 : 4);
    }
  };
  for (const auto& [query, values] : evaluation.by_query) add(query, values);
  add("all", evaluation.averages);
  printed[{"num_q", "all"}] = std::to_string(evaluation.queries);
  return printed;
}

/// Compares what both have; returns how many values that was.
int compare(const Printed& expected, const Printed& found) {
  int compared = 0;
  for (const auto& [key, value] : expected) {
    const auto ours = found.find(key);
    if (ours == found.end()) continue;
    EXPECT_EQ(ours->second, value) << key.first << " of " << key.second;
    ++compared;
  }
  return compared;
}

class TrecEval : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(kFolder / "qrels.test")) GTEST_SKIP() << "no trec_eval test files in " << kFolder;
  }

  static Printed evaluate(const std::string& qrels, const std::string& run,
                          const std::vector<Metric>& metrics, int level = 1, bool complete = false) {
    return print(evaluate_run(read_qrels(kFolder / qrels), read_trec_run(kFolder / run), metrics,
                              {.relevance_level = level, .gain = Gain::kLinear}, complete));
  }
};

TEST_F(TrecEval, Defaults) {
  // 30 lines, of which one is the run's name.
  EXPECT_EQ(compare(read_printed("out.test"), evaluate("qrels.test", "results.test", trec_metrics())), 29);
}

TEST_F(TrecEval, AllMeasures) {
  // 94 lines; not ours: runid, utility, binG, G, ndcg_rel, Rndcg.
  EXPECT_EQ(compare(read_printed("out.test.a"), evaluate("qrels.test", "results.test", trec_metrics())), 88);
}

TEST_F(TrecEval, PerQuery) {
  EXPECT_EQ(compare(read_printed("out.test.aq"), evaluate("qrels.test", "results.test", trec_metrics())),
            88 + 3 * 85);
}

TEST_F(TrecEval, CompleteAveragesOverAllJudgedQueries) {
  const Printed found = evaluate("qrels.test", "results.trunc", trec_metrics(), 1, true);
  EXPECT_EQ(compare(read_printed("out.test.aqc"), found), 88 + 2 * 85);
}

TEST_F(TrecEval, RelevanceLevel) {
  EXPECT_EQ(
      compare(read_printed("out.test.aql"), evaluate("qrels.rel_level", "results.test", trec_metrics(), 2)),
      88 + 3 * 85);
}

TEST_F(TrecEval, OtherCutoffs) {
  std::vector<Metric> metrics;
  for (const double recall : {0.1, 0.2, 0.25, 0.5, 0.75})
    metrics.push_back(make_metric("iprec_at_recall", recall));
  for (const double cutoff : {3, 5, 7}) metrics.push_back(make_metric("P", cutoff));
  for (const double cutoff : {20, 2000}) metrics.push_back(make_metric("recall", cutoff));
  for (const double multiple : {0.2, 0.35, 5.0}) metrics.push_back(make_metric("Rprec_mult", multiple));
  for (const double cutoff : {10, 20, 23}) metrics.push_back(make_metric("ndcg_cut", cutoff));
  for (const double cutoff : {2, 5, 20}) metrics.push_back(make_metric("success", cutoff));
  EXPECT_EQ(compare(read_printed("out.test.meas_params"), evaluate("qrels.test", "results.test", metrics)),
            4 * 19);
}

}  // namespace
}  // namespace toller
