// The policy gradient is right on average, and none where rewards do not differ.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "loss/list_problem.h"

namespace toller {
namespace {

/// Expected nDCG@cutoff of Plackett–Luce by going through all rankings.
double expected_ndcg(const std::vector<double>& z, const std::vector<std::int32_t>& grades,
                     std::size_t cutoff) {
  const std::size_t size = z.size();
  const auto dcg = [&](const std::vector<std::size_t>& order) {
    double sum = 0;
    for (std::size_t r = 0; r < std::min(cutoff, size); ++r) {
      sum += (std::exp2(grades[order[r]]) - 1) / std::log2(2.0 + static_cast<double>(r));
    }
    return sum;
  };
  std::vector<std::size_t> order(size);
  std::iota(order.begin(), order.end(), 0);
  double expected = 0, ideal = 0;
  do {
    double probability = 1;
    for (std::size_t r = 0; r < size; ++r) {
      double rest = 0;
      for (std::size_t q = r; q < size; ++q) rest += std::exp(z[order[q]]);
      probability *= std::exp(z[order[r]]) / rest;
    }
    expected += probability * dcg(order);
    ideal = std::max(ideal, dcg(order));
  } while (std::ranges::next_permutation(order).found);
  return expected / ideal;
}

// 4,000 steps of 8 rankings. A ranking's share of the gradient, reward times ∂ log P/∂s, is below 1/τ = 2, so
// the mean of 32,000 is within 0.02 of the expectation by more than two standard deviations of the worst case
// and, with the variance that these lists have (about 0.3), by ten.
TEST(PgRank, GradientIsUnbiased) {
  const std::vector<double> scores = {0.3, -0.2, 0.5, 0.1};
  const std::vector<std::int32_t> grades = {2, 1, 0, 0};
  const double temperature = 0.5, h = 1e-5;
  for (const std::int32_t cutoff : {2, 10}) {
    const auto loss = [&](std::size_t k, double change) {
      std::vector<double> z = scores;
      z[k] += change;
      for (double& x : z) x /= temperature;
      return 1 - expected_ndcg(z, grades, static_cast<std::size_t>(cutoff));
    };
    LossProblem problem = one_list(scores, grades, {}, temperature);
    std::vector<double> mean(scores.size(), 0.0);
    double value = 0;
    constexpr int kSteps = 4000;
    for (int step = 0; step < kSteps; ++step) {
      problem.step = step;
      const LossResult result =
          list_loss<double>(problem, {.kind = ListLossKind::kPgRank, .samples = 8, .cutoff = cutoff});
      value += result.value / kSteps;
      for (std::size_t k = 0; k < mean.size(); ++k) mean[k] += result.document[k] / kSteps;
    }
    EXPECT_NEAR(value, loss(0, 0), 0.005);
    for (std::size_t k = 0; k < mean.size(); ++k) {
      EXPECT_NEAR(mean[k], (loss(k, h) - loss(k, -h)) / (2 * h), 0.02) << k;
    }
  }
}

TEST(PgRank, IsWithoutGradientWhereRewardsDoNotDiffer) {
  // At so low a temperature every ranking drawn is the same, and the best.
  const LossResult result =
      list_loss<double>(one_list({0.9, 0.1, -0.5}, {2, 1, 0}, {}, 0.005), {.kind = ListLossKind::kPgRank});
  EXPECT_NEAR(result.value, 0, 1e-15);
  for (const double x : result.document) EXPECT_EQ(x, 0);
}

TEST(PgRank, DrawsDependOnSeedStepAndQuery) {
  const std::vector<double> scores = {0.3, -0.2, 0.5, 0.1, 0, 0.2, 0.4};
  LossProblem problem = one_list(scores, {2, 1, 0, 0, 1, 0, 3}, {}, 0.5);
  ListLossOptions options{.kind = ListLossKind::kPgRank};
  const LossResult base = list_loss<double>(problem, options);
  EXPECT_EQ(list_loss<double>(problem, options).document, base.document);
  problem.step = 1;
  EXPECT_NE(list_loss<double>(problem, options).document, base.document);
  problem.step = 0;
  problem.first_query = 1;
  EXPECT_NE(list_loss<double>(problem, options).document, base.document);
  problem.first_query = 0;
  for (const std::uint64_t seed : {std::uint64_t{2}, std::uint64_t{1} | std::uint64_t{1} << 40}) {
    options.seed = seed;
    EXPECT_NE(list_loss<double>(problem, options).document, base.document);
  }
}

}  // namespace
}  // namespace toller
