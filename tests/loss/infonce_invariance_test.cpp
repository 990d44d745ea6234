// The same loss and gradients for any tile size, division into ranks and number of threads.
#include <gtest/gtest.h>
#include <omp.h>
#include <sys/resource.h>

#include "loss/loss_problem.h"

namespace toller {
namespace {

void expect_equal(const LossResult& actual, const LossResult& expected, double tolerance) {
  EXPECT_LT(relative_difference({actual.value}, {expected.value}), tolerance);
  EXPECT_LT(relative_difference(actual.query, expected.query), tolerance);
  EXPECT_LT(relative_difference(actual.document, expected.document), tolerance);
  EXPECT_LT(relative_difference({actual.log_temperature}, {expected.log_temperature}), tolerance);
}

template <class T>
class InfoNceInvariance : public testing::Test {
 protected:
  static constexpr double kTolerance = std::is_same_v<T, float> ? 1e-5 : 1e-12;
};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(InfoNceInvariance, Elements);

TYPED_TEST(InfoNceInvariance, TilesDoNotMatter) {
  for (const bool symmetric : {false, true}) {
    const LossProblem problem = random_problem(300, 517, 12, 0.05, symmetric, true);
    const LossResult whole = single_rank_loss<TypeParam>(problem, 517);
    for (const std::int64_t tile : {1, 16, 65, 516, 1024}) {
      SCOPED_TRACE(tile);
      expect_equal(single_rank_loss<TypeParam>(problem, tile), whole, this->kTolerance);
    }
  }
}

TYPED_TEST(InfoNceInvariance, RanksDoNotMatter) {
  for (const bool symmetric : {false, true}) {
    const LossProblem problem = random_problem(301, 605, 12, 0.05, symmetric, true);
    const LossResult alone = single_rank_loss<TypeParam>(problem, 100);
    const std::vector<std::vector<std::int64_t>> divisions = {
        {301}, {300, 1}, {0, 301}, {100, 101, 100}, {120, 0, 181}, {76, 75, 75, 75}, {0, 150, 151, 0}};
    for (const auto& counts : divisions) {
      SCOPED_TRACE(testing::PrintToString(counts));
      expect_equal(distributed_loss<TypeParam>(problem, counts, 100), alone, this->kTolerance);
    }
  }
}

TYPED_TEST(InfoNceInvariance, RepeatsItsBitsForTheSameRanks) {
  const LossProblem problem = random_problem(60, 97, 8, 0.02, true, true);
  const LossResult once = distributed_loss<TypeParam>(problem, {20, 25, 15}, 40);
  const LossResult again = distributed_loss<TypeParam>(problem, {20, 25, 15}, 40);
  EXPECT_EQ(once.value, again.value);
  EXPECT_EQ(once.query, again.query);
  EXPECT_EQ(once.document, again.document);
  EXPECT_EQ(once.log_temperature, again.log_temperature);
}

TYPED_TEST(InfoNceInvariance, ThreadsDoNotMatter) {
  const LossProblem problem = random_problem(290, 517, 8, 0.05, true, true);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const LossResult one = single_rank_loss<TypeParam>(problem, 200);
  omp_set_num_threads(3);
  const LossResult three = single_rank_loss<TypeParam>(problem, 200);
  const LossResult again = single_rank_loss<TypeParam>(problem, 200);
  omp_set_num_threads(threads);
  expect_equal(three, one, this->kTolerance);
  EXPECT_EQ(three.value, again.value);
  EXPECT_EQ(three.query, again.query);
  EXPECT_EQ(three.document, again.document);
}

TEST(InfoNceMemory, DoesNotHoldTheScores) {
  const std::int64_t queries = 2048, candidates = 16384;  // 128 MiB of scores in fp32
  const LossProblem problem = random_problem(queries, candidates, 2, 0.05, true, false);
  const auto peak_kib = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const auto before = peak_kib();
  EXPECT_GT(single_rank_loss<float>(problem, 512).value, 0);
  EXPECT_LT(peak_kib() - before, 32 * 1024);
}

}  // namespace
}  // namespace toller
