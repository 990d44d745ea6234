// Corners: nothing to compare with, extreme temperatures, values that are not numbers, lists that are wrong.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "error.h"
#include "loss/loss_problem.h"

namespace toller {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

template <class T>
class InfoNceEdge : public testing::Test {};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(InfoNceEdge, Elements);

void expect_all_zero(const LossResult& result) {
  EXPECT_EQ(result.value, 0);
  EXPECT_EQ(result.log_temperature, 0);
  for (const double x : result.query) EXPECT_EQ(x, 0);
  for (const double x : result.document) EXPECT_EQ(x, 0);
}

void expect_finite(const LossResult& result) {
  EXPECT_TRUE(std::isfinite(result.value));
  EXPECT_TRUE(std::isfinite(result.log_temperature));
  for (const double x : result.query) EXPECT_TRUE(std::isfinite(x));
  for (const double x : result.document) EXPECT_TRUE(std::isfinite(x));
}

TYPED_TEST(InfoNceEdge, IsZeroWithoutNegatives) {
  for (const bool symmetric : {false, true}) {
    expect_all_zero(single_rank_loss<TypeParam>({1, 1, 2, 0, symmetric, {1, 0}, {1, 0}, {{0}}, {{}}}));
    // Everything is a positive or left out.
    expect_all_zero(single_rank_loss<TypeParam>(
        {2, 3, 1, -1, symmetric, {1, -1}, {1, 0.5, -1}, {{0, 1}, {2}}, {{2}, {0, 1}}}, 2));
  }
}

TYPED_TEST(InfoNceEdge, MatchesOneQueryByHand) {
  // Scores 0.5 (positive), 0.25 and -0.5, temperature 1/2.
  const LossProblem problem{1, 3, 1, std::log(0.5), false, {1}, {0.5, 0.25, -0.5}, {{0}}, {{}}};
  const LossResult result = single_rank_loss<TypeParam>(problem);
  const double total = std::exp(1.0) + std::exp(0.5) + std::exp(-1.0);
  const double p1 = std::exp(0.5) / total, p2 = std::exp(-1.0) / total;
  EXPECT_NEAR(result.value, std::log(total) - 1, 1e-6);
  EXPECT_NEAR(result.document[0], -2 * (p1 + p2), 1e-6);
  EXPECT_NEAR(result.document[1], 2 * p1, 1e-6);
  EXPECT_NEAR(result.document[2], 2 * p2, 1e-6);
  EXPECT_NEAR(result.query[0], 2 * (-0.5 * (p1 + p2) + 0.25 * p1 - 0.5 * p2), 1e-6);
  EXPECT_NEAR(result.log_temperature, (p1 + p2) * 1.0 - p1 * 0.5 + p2 * 1.0, 1e-6);
}

// Two queries whose positive has score −1 and whose negative has 1: each term is softplus(2/τ).
TYPED_TEST(InfoNceEdge, HoldsAtTheLowestTemperature) {
  for (const bool symmetric : {false, true}) {
    LossProblem problem{2, 2, 1, std::log(0.001), symmetric, {1, -1}, {-1, 1}, {{0}, {1}}, {{}, {}}};
    const LossResult worst = single_rank_loss<TypeParam>(problem, 1);
    EXPECT_NEAR(worst.value, 2000, 1e-3);
    EXPECT_NEAR(worst.query[0], 1000, 1e-2);  // (d_n − d_p)/(B τ)
    EXPECT_NEAR(worst.log_temperature, -2000, 1e-1);
    problem.document = {1, -1};
    const LossResult best = single_rank_loss<TypeParam>(problem, 1);
    expect_finite(best);
    EXPECT_NEAR(best.value, 0, 1e-30);
    EXPECT_NEAR(best.query[0], 0, 1e-30);
    // Documents alike: log 2 a query; the second document meets a better query than its own.
    problem.document = {1, 1};
    const double alike = symmetric ? (std::log(2.0) + 1000) / 2 : std::log(2.0);
    EXPECT_NEAR(single_rank_loss<TypeParam>(problem, 2).value, alike, 1e-6 * alike);
  }
}

TYPED_TEST(InfoNceEdge, StaysFiniteOnRandomScoresAtTheLowestTemperature) {
  for (const bool symmetric : {false, true}) {
    expect_finite(single_rank_loss<TypeParam>(random_problem(40, 83, 3, 0.001, symmetric, true), 30));
  }
}

TYPED_TEST(InfoNceEdge, ExcludedAndOtherPositiveColumnsDoNotMatter) {
  LossProblem problem = random_problem(1, 9, 4, 0.1, false, false);
  problem.positive = {{2, 5}};
  problem.excluded = {{0, 7}};
  const LossResult before = single_rank_loss<TypeParam>(problem, 4);
  for (int j = 0; j < 4; ++j) problem.document[7 * 4 + j] = 3;
  const LossResult after = single_rank_loss<TypeParam>(problem, 4);
  EXPECT_EQ(before.value, after.value);
  EXPECT_EQ(before.document, after.document);
  for (int j = 0; j < 4; ++j) EXPECT_EQ(before.document[7 * 4 + j], 0);
}

TYPED_TEST(InfoNceEdge, GivesNaNForNaN) {
  for (const bool symmetric : {false, true}) {
    const LossProblem good = random_problem(5, 11, 3, 0.1, symmetric, true);
    for (const std::int64_t tile : {4, 64}) {
      LossProblem query = good, document = good, temperature = good;
      query.query[7] = kNaN;
      document.document[31] = kNaN;
      temperature.log_temperature = kNaN;
      EXPECT_TRUE(std::isnan(single_rank_loss<TypeParam>(query, tile).value));
      EXPECT_TRUE(std::isnan(single_rank_loss<TypeParam>(document, tile).value));
      EXPECT_TRUE(std::isnan(single_rank_loss<TypeParam>(temperature, tile).value));
      EXPECT_TRUE(std::isnan(distributed_loss<TypeParam>(query, {2, 3}, tile).value));
    }
  }
}

TYPED_TEST(InfoNceEdge, ARankWithoutQueriesHasNoGradient) {
  const LossProblem problem = random_problem(4, 9, 3, 0.1, true, false);
  run_ranks(2, [&](Communicator& communicator) {
    const std::int64_t first = communicator.rank() == 0 ? 4 : 0;
    const LossResult part = rank_loss<TypeParam>(problem, first, 4, 4, communicator);
    EXPECT_GT(part.value, 0);
    if (communicator.rank() == 0) {
      EXPECT_EQ(part.log_temperature, 0);
      for (const double x : part.document) EXPECT_EQ(x, 0);
    }
  });
}

TEST(InfoNceCheck, RejectsWrongLists) {
  const LossProblem good{2, 3, 1, 0, false, {1, 1}, {1, 1, 1}, {{0}, {1}}, {{}, {}}};
  EXPECT_NO_THROW(single_rank_loss<double>(good));
  LossProblem none = good, low = good, high = good, excluded = good, unsorted = good;
  none.positive[1].clear();
  low.positive[0] = {-1};
  high.positive[0] = {3};
  excluded.excluded[0] = {7};
  unsorted.excluded[0] = {2, 1};
  for (const LossProblem& bad : {none, low, high, excluded, unsorted}) {
    EXPECT_THROW(single_rank_loss<double>(bad), Error);
  }
}

TEST(InfoNceCheck, RejectsATileWithoutColumns) {
  const auto ops = make_cpu_ops<float>();
  const auto score_ops = make_cpu_score_ops<float>();
  EXPECT_THROW(make_infonce<float>(*ops, *score_ops, {.tile_columns = -1}), UsageError);
  EXPECT_THROW(make_infonce<float>(*ops, *score_ops, {.tile_rows = -1}), UsageError);
}

}  // namespace
}  // namespace toller
