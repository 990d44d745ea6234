// Against scipy.stats.spearmanr, pearsonr and rankdata.
#include "eval/correlation.h"

#include <gtest/gtest.h>

#include <cmath>

namespace toller {
namespace {

const std::vector<double> kA{0.1, 0.5, 0.5, 0.9, -0.3, 0.2, 0.2, 0.2}, kB{1, 3, 2, 5, 0, 1, 1, 4};

TEST(Correlation, IsScipys) {
  EXPECT_NEAR(spearman_correlation(kA, kB).value(), 0.8176262338182699, 1e-14);
  EXPECT_NEAR(pearson_correlation(kA, kB).value(), 0.801331120205443, 1e-14);
  EXPECT_EQ(average_ranks(kA), (std::vector<double>{2, 6.5, 6.5, 8, 1, 4, 4, 4}));
}

TEST(Correlation, SpearmanSeesTheOrderAlone) {
  std::vector<double> cubes;
  for (const double x : kA) cubes.push_back(x * x * x + 7);
  EXPECT_DOUBLE_EQ(spearman_correlation(kA, cubes).value(), 1);
  EXPECT_LT(pearson_correlation(kA, cubes).value(), 0.99);
}

TEST(Correlation, IsNotDefinedForConstantsNaNsAndSinglePairs) {
  const std::vector<double> constant(8, 3.0);
  EXPECT_FALSE(spearman_correlation(kA, constant).has_value());
  EXPECT_FALSE(pearson_correlation(constant, kB).has_value());
  EXPECT_FALSE(pearson_correlation(std::vector{1.0}, std::vector{2.0}).has_value());
  std::vector<double> with_nan = kA;
  with_nan[3] = NAN;
  EXPECT_FALSE(spearman_correlation(with_nan, kB).has_value());
  EXPECT_FALSE(pearson_correlation(with_nan, kB).has_value());
}

}  // namespace
}  // namespace toller
