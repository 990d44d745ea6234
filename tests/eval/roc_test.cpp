#include "eval/roc.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <random>

#include "comm/thread_communicator.h"
#include "random_embeddings.h"

namespace toller {
namespace {

/// The definition: every pair, one by one.
double pair_by_pair(const std::vector<float>& positives, const std::vector<float>& negatives) {
  double wins = 0;
  for (const float positive : positives) {
    for (const float negative : negatives) wins += positive > negative ? 1 : positive == negative ? 0.5 : 0;
  }
  return wins / (static_cast<double>(positives.size()) * static_cast<double>(negatives.size()));
}

TEST(AreaUnderRoc, ByHand) {
  // 3 beats 2 and 1, 2 beats 1 and ties 2, 1 ties 1: (2 + 1.5 + 0.5) of 6.
  EXPECT_DOUBLE_EQ(*area_under_roc(std::vector<float>{3, 2, 1}, std::vector<float>{2, 1}), 4.0 / 6);
  EXPECT_DOUBLE_EQ(*area_under_roc(std::vector<float>{1, 1}, std::vector<float>{1, 1, 1}), 0.5);
  EXPECT_FALSE(area_under_roc(std::vector<float>{}, std::vector<float>{1}).has_value());
  EXPECT_FALSE(area_under_roc(std::vector<float>{1}, std::vector<float>{}).has_value());
}

TEST(AreaUnderRoc, EqualsTheLoopOverPairs) {
  std::mt19937 generator(3);
  for (int round = 0; round < 200; ++round) {
    const int levels = 1 << (round % 20);  // few: many ties
    // Powers crowd the scores into few steps of the table.
    const float power = round % 3 == 0 ? 20 : 1;
    const auto draw = [&](int count, float shift) {
      std::uniform_int_distribution<int> level(0, levels - 1);
      std::vector<float> scores(count);
      for (float& score : scores) {
        score = std::pow(static_cast<float>(level(generator)) / static_cast<float>(levels), power) + shift;
      }
      return scores;
    };
    const std::vector<float> positives = draw(1 + round % 50, 0.25F), negatives = draw(100 + round, 0);
    EXPECT_DOUBLE_EQ(*area_under_roc(positives, negatives), pair_by_pair(positives, negatives)) << round;
  }
}

TEST(AreaUnderRoc, HoldsAtExtremeScores) {
  const std::vector<float> tiny{0, 1e-45F, 3e-45F}, huge{-3e38F, 0, 3e38F}, zeros{-0.0F, 0.0F};
  EXPECT_DOUBLE_EQ(*area_under_roc(tiny, huge), pair_by_pair(tiny, huge));
  EXPECT_DOUBLE_EQ(*area_under_roc(huge, tiny), pair_by_pair(huge, tiny));
  EXPECT_DOUBLE_EQ(*area_under_roc(zeros, tiny), pair_by_pair(zeros, tiny));
}

constexpr std::int64_t kQueries = 130;
constexpr std::int64_t kDocuments = 8'500;
constexpr std::int64_t kDimension = 3;

class RocAreasTest : public ::testing::Test {
 protected:
  RocAreasTest() {
    std::mt19937 generator(4);
    std::uniform_int_distribution<std::int32_t> document(0, kDocuments - 1);
    for (std::int64_t query = 0; query < kQueries; ++query) {
      std::vector<std::int32_t> rows(8);
      for (std::int32_t& row : rows) row = document(generator);
      std::ranges::sort(rows);
      rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
      std::ranges::shuffle(rows, generator);
      const auto relevant = query % 10 == 0 ? 0 : 4;  // some queries have none
      judged_.relevant.emplace_back(rows.begin(), rows.begin() + relevant);
      judged_.nonrelevant.emplace_back(rows.begin() + relevant, rows.end());
      // Without one, a document with no judgement, a relevant one.
      judged_.excluded.push_back(query % 3 == 0 ? -1 : query % 3 == 1 || relevant == 0 ? 17 : rows[1]);
    }
  }

  bool contains(const std::vector<std::int32_t>& rows, std::int32_t row) const {
    return std::ranges::find(rows, row) != rows.end();
  }

  /// The three areas from all scores, pair by pair.
  void expect_right(const RocAreas& areas) const {
    std::vector<float> positives, negatives, judged_negatives;
    double sum = 0, count = 0;
    for (std::int64_t query = 0; query < kQueries; ++query) {
      std::vector<float> own_positives, own_negatives;
      for (std::int32_t document = 0; document < kDocuments; ++document) {
        if (document == judged_.excluded[query]) continue;
        const float score = inner_product(queries_, query, documents_, document, kDimension);
        (contains(judged_.relevant[query], document) ? own_positives : own_negatives).push_back(score);
        if (contains(judged_.nonrelevant[query], document)) judged_negatives.push_back(score);
      }
      positives.insert(positives.end(), own_positives.begin(), own_positives.end());
      negatives.insert(negatives.end(), own_negatives.begin(), own_negatives.end());
      if (own_positives.empty()) continue;
      sum += pair_by_pair(own_positives, own_negatives);
      ++count;
    }
    EXPECT_NEAR(*areas.pooled, pair_by_pair(positives, negatives), 1e-12);
    EXPECT_NEAR(*areas.per_query, sum / count, 1e-12);
    EXPECT_NEAR(*areas.judged, pair_by_pair(positives, judged_negatives), 1e-12);
  }

  std::vector<float> queries_ = random_embeddings(kQueries, kDimension, 5);
  std::vector<float> documents_ = random_embeddings(kDocuments, kDimension, 6);
  JudgedDocuments judged_;
};

TEST_F(RocAreasTest, EqualTheLoopOverPairs) {
  SelfCommunicator alone;
  expect_right(roc_areas(DenseScorer(queries_, documents_, kDimension), judged_, alone));
}

TEST_F(RocAreasTest, AreTheSameOnEveryRank) {
  SelfCommunicator alone;
  const RocAreas expected = roc_areas(DenseScorer(queries_, documents_, kDimension), judged_, alone);
  for (const int ranks : {2, 4}) {
    run_ranks(ranks, [&](Communicator& communicator) {
      const RocAreas areas = roc_areas(DenseScorer(queries_, documents_, kDimension), judged_, communicator);
      static std::mutex mutex;
      const std::lock_guard lock(mutex);
      EXPECT_DOUBLE_EQ(*areas.pooled, *expected.pooled);
      EXPECT_DOUBLE_EQ(*areas.per_query, *expected.per_query);
      EXPECT_DOUBLE_EQ(*areas.judged, *expected.judged);
    });
  }
}

TEST_F(RocAreasTest, AreEmptyWithoutPairs) {
  SelfCommunicator alone;
  for (auto& rows : judged_.relevant) rows.clear();
  const RocAreas areas = roc_areas(DenseScorer(queries_, documents_, kDimension), judged_, alone);
  EXPECT_FALSE(areas.pooled || areas.per_query || areas.judged);
}

}  // namespace
}  // namespace toller
