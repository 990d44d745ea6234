// Corners: nothing to compare with, extreme temperatures, values that are not numbers, lists that are wrong.
#include <gtest/gtest.h>

#include <cmath>

#include "error.h"
#include "loss/infonce_problem.h"

namespace toller {
namespace {

template <class T>
class InfoNceEdge : public testing::Test {};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(InfoNceEdge, Elements);

TYPED_TEST(InfoNceEdge, IsZeroWithoutNegatives) {
  for (const bool symmetric : {false, true}) {
    for (const LossProblem& problem : problems_without_negatives()) {
      expect_all_zero(infonce_loss<TypeParam>(problem, {.symmetric = symmetric, .tile_columns = 2}));
    }
  }
}

TYPED_TEST(InfoNceEdge, MatchesOneQueryByHand) {
  // Scores 0.5 (positive), 0.25 and -0.5, temperature 1/2.
  const LossProblem problem{1, 3, 1, std::log(0.5), {1}, {0.5, 0.25, -0.5}, {{0}}, {{}}};
  const LossResult result = infonce_loss<TypeParam>(problem);
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
    LossProblem problem{2, 2, 1, std::log(0.001), {1, -1}, {-1, 1}, {{0}, {1}}, {{}, {}}};
    const InfoNceOptions options{.symmetric = symmetric, .tile_columns = 1};
    const LossResult worst = infonce_loss<TypeParam>(problem, options);
    EXPECT_NEAR(worst.value, 2000, 1e-3);
    EXPECT_NEAR(worst.query[0], 1000, 1e-2);  // (d_n − d_p)/(B τ)
    EXPECT_NEAR(worst.log_temperature, -2000, 1e-1);
    problem.document = {1, -1};
    const LossResult best = infonce_loss<TypeParam>(problem, options);
    expect_finite(best);
    EXPECT_NEAR(best.value, 0, 1e-30);
    EXPECT_NEAR(best.query[0], 0, 1e-30);
    // Documents alike: log 2 a query; the second document meets a better query than its own.
    problem.document = {1, 1};
    const double alike = symmetric ? (std::log(2.0) + 1000) / 2 : std::log(2.0);
    const LossResult same = infonce_loss<TypeParam>(problem, {.symmetric = symmetric, .tile_columns = 2});
    EXPECT_NEAR(same.value, alike, 1e-6 * alike);
  }
}

TYPED_TEST(InfoNceEdge, StaysFiniteOnRandomScoresAtTheLowestTemperature) {
  for (const bool symmetric : {false, true}) {
    expect_finite(infonce_loss<TypeParam>(random_problem(40, 83, 3, 0.001, true),
                                          {.symmetric = symmetric, .tile_columns = 30}));
  }
}

TYPED_TEST(InfoNceEdge, ExcludedAndOtherPositiveColumnsDoNotMatter) {
  LossProblem problem = random_problem(1, 9, 4, 0.1, false);
  problem.positive = {{2, 5}};
  problem.excluded = {{0, 7}};
  const LossResult before = infonce_loss<TypeParam>(problem, {.tile_columns = 4});
  for (int j = 0; j < 4; ++j) problem.document[7 * 4 + j] = 3;
  const LossResult after = infonce_loss<TypeParam>(problem, {.tile_columns = 4});
  EXPECT_EQ(before.value, after.value);
  EXPECT_EQ(before.document, after.document);
  for (int j = 0; j < 4; ++j) EXPECT_EQ(before.document[7 * 4 + j], 0);
}

TYPED_TEST(InfoNceEdge, GivesNaNForNaN) {
  const std::vector<LossProblem> all = problems_with_nan(random_problem(5, 11, 3, 0.1, true));
  for (const bool symmetric : {false, true}) {
    for (const std::int64_t tile : {4, 64}) {
      const InfoNceOptions options{.symmetric = symmetric, .tile_columns = tile};
      for (const LossProblem& bad : all) {
        EXPECT_TRUE(std::isnan(infonce_loss<TypeParam>(bad, options).value));
      }
      EXPECT_TRUE(std::isnan(distributed_infonce_loss<TypeParam>(all[0], {2, 3}, options).value));
    }
  }
}

TYPED_TEST(InfoNceEdge, ARankWithoutQueriesHasNoGradient) {
  const LossResult part = loss_without_queries<TypeParam>(
      random_problem(4, 9, 3, 0.1, false),
      with_options(make_infonce<TypeParam>, {.symmetric = true, .tile_columns = 4}));
  EXPECT_EQ(part.log_temperature, 0);
}

TEST(InfoNceCheck, RejectsWrongLists) {
  EXPECT_NO_THROW(infonce_loss<double>(problem_with_lists()));
  for (const LossProblem& bad : problems_with_wrong_lists()) EXPECT_THROW(infonce_loss<double>(bad), Error);
}

TEST(InfoNceCheck, RejectsATileWithoutColumns) {
  const auto ops = make_cpu_ops<float>();
  const auto score_ops = make_cpu_score_ops<float>();
  EXPECT_THROW(make_infonce<float>(*ops, *score_ops, {.tile_columns = -1}), UsageError);
  EXPECT_THROW(make_infonce<float>(*ops, *score_ops, {.tile_rows = -1}), UsageError);
}

}  // namespace
}  // namespace toller
