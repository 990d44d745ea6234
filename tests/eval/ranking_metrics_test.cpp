// A graded example small enough to work out by hand.
#include "eval/ranking_metrics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "error.h"
#include "eval/run_evaluation.h"

namespace toller {
namespace {

// q1 ranks a, then x, d and b at one score (ties: id descending), then c. Judged: e 3 (not retrieved), a 2, b
// 1, c 1, d 0; x is not judged. Grades in rank order: 2, –, 0, 1, 1. q2 retrieves nothing relevant, q3 is not
// in the run, q4 has no judgements.
const Qrels kQrels{
    {"q1", {{"a", 2}, {"b", 1}, {"c", 1}, {"d", 0}, {"e", 3}}}, {"q2", {{"y", 1}}}, {"q3", {{"y", 1}}}};
const TrecRun kRun{"tag",
                   {{"q1", {{"b", 0.8F}, {"c", 0.1F}, {"d", 0.8F}, {"a", 0.9F}, {"x", 0.8F}}},
                    {"q2", {{"z", 0.5F}}},
                    {"q4", {{"z", 0.5F}}}}};

double value_of(const std::string& family, double parameter, const std::string& query,
                const MetricOptions& options = {}) {
  return evaluate_run(kQrels, kRun, {make_metric(family, parameter)}, options, false).by_query.at(query)[0];
}

double average_of(const std::string& family, bool complete) {
  return evaluate_run(kQrels, kRun, {make_metric(family)}, {}, complete).averages[0];
}

TEST(RankingMetrics, NdcgWithExponentialGain) {
  // Gains 2^g − 1: a 3, b 1, c 1, e 7. DCG = 3/log2 2 + 1/log2 5 + 1/log2 6 = 3 + 0.430677 + 0.386853
  // = 3.817529. Ideal e a b c: 7/log2 2 + 3/log2 3 + 1/log2 4 + 1/log2 5 = 7 + 1.892789 + 0.5 + 0.430677
  // = 9.823466.
  EXPECT_NEAR(value_of("ndcg_cut", 10, "q1"), 0.388613, 1e-6);
  // At 3: DCG = 3, ideal = 7 + 1.892789 + 0.5 = 9.392789.
  EXPECT_NEAR(value_of("ndcg_cut", 3, "q1"), 0.319394, 1e-6);
  EXPECT_EQ(value_of("ndcg_cut", 10, "q2"), 0);
}

TEST(RankingMetrics, NdcgWithLinearGain) {
  // DCG = 2 + 0.430677 + 0.386853 = 2.817529; ideal = 3 + 2/log2 3 + 0.5 + 0.430677 = 5.192536.
  EXPECT_NEAR(value_of("ndcg_cut", 10, "q1", {.gain = Gain::kLinear}), 0.542611, 1e-6);
  EXPECT_NEAR(value_of("ndcg", 0, "q1", {.gain = Gain::kLinear}), 0.542611, 1e-6);
}

TEST(RankingMetrics, BinaryMetrics) {
  // Relevant a, b, c, e; found at ranks 1, 4 and 5.
  EXPECT_DOUBLE_EQ(value_of("map", 0, "q1"), (1.0 / 1 + 2.0 / 4 + 3.0 / 5) / 4);
  EXPECT_DOUBLE_EQ(value_of("map_cut", 4, "q1"), (1.0 / 1 + 2.0 / 4) / 4);
  EXPECT_DOUBLE_EQ(value_of("recall", 3, "q1"), 1.0 / 4);
  EXPECT_DOUBLE_EQ(value_of("recall", 100, "q1"), 3.0 / 4);
  EXPECT_DOUBLE_EQ(value_of("P", 4, "q1"), 2.0 / 4);
  EXPECT_DOUBLE_EQ(value_of("P", 10, "q1"), 3.0 / 10);  // fewer than ten results
  EXPECT_DOUBLE_EQ(value_of("Rprec", 0, "q1"), 2.0 / 4);
  EXPECT_DOUBLE_EQ(value_of("success", 1, "q1"), 1);
  EXPECT_DOUBLE_EQ(value_of("success", 10, "q2"), 0);
  // One judged non-relevant document, d, at rank 3: a comes before it, b and c after.
  EXPECT_DOUBLE_EQ(value_of("bpref", 0, "q1"), 1.0 / 4);
}

TEST(RankingMetrics, ReciprocalRankHonoursLevelAndCutoff) {
  EXPECT_DOUBLE_EQ(value_of("recip_rank", 0, "q1"), 1);
  EXPECT_DOUBLE_EQ(value_of("recip_rank", 0, "q1", {.relevance_level = 3}), 0);
  const RankedQuery query = make_ranked_query({0, kNotJudged, 1}, {0, 1}, 1);
  EXPECT_DOUBLE_EQ(make_metric("recip_rank_cut", 3).value(query, 3, {}), 1.0 / 3);
  EXPECT_DOUBLE_EQ(make_metric("recip_rank_cut", 2).value(query, 2, {}), 0);
}

TEST(RankingMetrics, AveragesOverCommonOrOverAllQueries) {
  EXPECT_DOUBLE_EQ(average_of("map", false), 0.525 / 2);
  EXPECT_DOUBLE_EQ(average_of("map", true), 0.525 / 3);
  EXPECT_EQ(average_of("num_rel", false), 5);
  EXPECT_EQ(average_of("num_rel", true), 6);
  EXPECT_EQ(average_of("num_ret", true), 6);
  EXPECT_NEAR(average_of("gm_map", false), std::sqrt(0.525 * 1e-5), 1e-12);
}

TEST(RankingMetrics, RefusesWhatItDoesNotKnow) {
  EXPECT_THROW(make_metric("ncdg"), UsageError);
  EXPECT_THROW(make_metric("P", 0), UsageError);
  EXPECT_THROW(make_metric("P", 2.5), UsageError);
  EXPECT_THROW(make_ranked_query({}, {kHighestGrade + 1}, 1), Error);
  EXPECT_THROW(evaluate_run({{"q9", {{"a", 1}}}}, kRun, trec_metrics(), {}, true), Error);
}

}  // namespace
}  // namespace toller
