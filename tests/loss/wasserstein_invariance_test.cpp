// The same loss and gradients for any tile size, division into ranks and number of threads.
#include <gtest/gtest.h>
#include <omp.h>
#include <sys/resource.h>

#include "loss/wasserstein_problem.h"

namespace toller {
namespace {

void expect_equal(const LossResult& actual, const LossResult& expected, double tolerance) {
  EXPECT_LT(relative_difference({actual.value}, {expected.value}), tolerance);
  EXPECT_LT(relative_difference(actual.query, expected.query), tolerance);
  EXPECT_LT(relative_difference(actual.document, expected.document), tolerance);
  EXPECT_LT(relative_difference({actual.log_temperature}, {expected.log_temperature}), tolerance);
}

template <class T>
class WassersteinInvariance : public testing::Test {
 protected:
  static constexpr double kTolerance = std::is_same_v<T, float> ? 1e-5 : 1e-11;
};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(WassersteinInvariance, Elements);

TYPED_TEST(WassersteinInvariance, TilesDoNotMatter) {
  const GradedProblem problem = graded_problem(120, 12, 0.1, true);
  const LossResult whole = wasserstein<TypeParam>(problem, {.tile_rows = 120, .tile_columns = 400});
  for (const std::int64_t tile : {1, 16, 65, 301, 1024}) {
    SCOPED_TRACE(tile);
    expect_equal(wasserstein<TypeParam>(problem, {.tile_rows = tile, .tile_columns = tile}), whole,
                 this->kTolerance);
  }
}

TYPED_TEST(WassersteinInvariance, RanksDoNotMatter) {
  for (const bool left_out : {false, true}) {
    const GradedProblem problem = graded_problem(121, 12, 0.1, left_out);
    const LossResult alone = wasserstein<TypeParam>(problem, {.tile_columns = 100});
    const std::vector<std::vector<std::int64_t>> divisions = {
        {121}, {120, 1}, {0, 121}, {40, 41, 40}, {60, 0, 61}, {31, 30, 30, 30}, {0, 60, 61, 0}};
    for (const auto& counts : divisions) {
      SCOPED_TRACE(testing::PrintToString(counts));
      expect_equal(distributed_wasserstein<TypeParam>(problem, counts, {.tile_columns = 100}), alone,
                   this->kTolerance);
    }
  }
}

TYPED_TEST(WassersteinInvariance, RepeatsItsBitsForTheSameRanks) {
  const GradedProblem problem = graded_problem(60, 8, 0.05, true);
  const WassersteinOptions options{.tile_rows = 16, .tile_columns = 40};
  const LossResult once = distributed_wasserstein<TypeParam>(problem, {20, 25, 15}, options);
  const LossResult again = distributed_wasserstein<TypeParam>(problem, {20, 25, 15}, options);
  EXPECT_EQ(once.value, again.value);
  EXPECT_EQ(once.query, again.query);
  EXPECT_EQ(once.document, again.document);
  EXPECT_EQ(once.log_temperature, again.log_temperature);
}

TYPED_TEST(WassersteinInvariance, ThreadsDoNotMatter) {
  const GradedProblem problem = graded_problem(200, 8, 0.1, true);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const LossResult one = wasserstein<TypeParam>(problem);
  omp_set_num_threads(3);
  const LossResult three = wasserstein<TypeParam>(problem);
  const LossResult again = wasserstein<TypeParam>(problem);
  omp_set_num_threads(threads);
  expect_equal(three, one, this->kTolerance);
  EXPECT_EQ(three.value, again.value);
  EXPECT_EQ(three.query, again.query);
  EXPECT_EQ(three.document, again.document);
}

TEST(WassersteinMemory, DoesNotHoldTheScores) {
  GradedProblem problem = graded_problem(128, 2, 0.1, false);
  problem.candidates = 1 << 18;  // 128 MiB of scores in fp32, 2^36 numbers of covariance
  problem.document.resize(static_cast<std::size_t>(2 * problem.candidates), 0.7);
  const auto peak_kib = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const auto before = peak_kib();
  EXPECT_GT(wasserstein<float>(problem).value, 0);
  EXPECT_LT(peak_kib() - before, 40 * 1024);
}

}  // namespace
}  // namespace toller
