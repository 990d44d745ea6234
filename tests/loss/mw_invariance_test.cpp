// The same loss and gradients for any tile size, division into ranks and number of threads.
#include <gtest/gtest.h>
#include <omp.h>
#include <sys/resource.h>

#include "loss/mw_problem.h"

namespace toller {
namespace {

const std::vector<MwOptions> kForms = {{}, {.exact = true}, {.per_query = true}};

void expect_equal(const LossResult& actual, const LossResult& expected, double tolerance) {
  EXPECT_LT(relative_difference({actual.value}, {expected.value}), tolerance);
  EXPECT_LT(relative_difference(actual.query, expected.query), tolerance);
  EXPECT_LT(relative_difference(actual.document, expected.document), tolerance);
  EXPECT_LT(relative_difference({actual.log_temperature}, {expected.log_temperature}), tolerance);
}

void expect_same_bits(const LossResult& actual, const LossResult& expected) {
  EXPECT_EQ(actual.value, expected.value);
  EXPECT_EQ(actual.query, expected.query);
  EXPECT_EQ(actual.document, expected.document);
  EXPECT_EQ(actual.log_temperature, expected.log_temperature);
}

template <class T>
class MwInvariance : public testing::Test {
 protected:
  static constexpr double kTolerance = std::is_same_v<T, float> ? 1e-5 : 1e-12;
};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(MwInvariance, Elements);

TYPED_TEST(MwInvariance, TilesDoNotMatter) {
  const LossProblem problem = random_problem(70, 227, 12, 0.05, false, true);
  for (MwOptions options : kForms) {
    options.tile_columns = 227;
    const LossResult whole = mw_loss<TypeParam>(problem, options);
    for (const std::int64_t tile : {1, 16, 65, 226, 1024}) {
      SCOPED_TRACE(tile);
      options.tile_rows = tile == 65 ? 9 : 0;
      options.tile_columns = tile;
      expect_equal(mw_loss<TypeParam>(problem, options), whole, this->kTolerance);
    }
  }
}

TYPED_TEST(MwInvariance, RanksDoNotMatter) {
  const LossProblem problem = random_problem(71, 305, 12, 0.05, false, true);
  for (MwOptions options : kForms) {
    options.tile_columns = 100;
    const LossResult alone = mw_loss<TypeParam>(problem, options);
    const std::vector<std::vector<std::int64_t>> divisions = {
        {71}, {70, 1}, {0, 71}, {20, 21, 30}, {30, 0, 41}, {18, 18, 18, 17}, {0, 35, 36, 0}};
    for (const auto& counts : divisions) {
      SCOPED_TRACE(testing::PrintToString(counts));
      expect_equal(distributed_mw_loss<TypeParam>(problem, counts, options), alone, this->kTolerance);
    }
  }
}

TYPED_TEST(MwInvariance, RepeatsItsBitsForTheSameRanks) {
  const LossProblem problem = random_problem(60, 97, 8, 0.02, false, true);
  for (const MwOptions& options : kForms) {
    const LossResult once = distributed_mw_loss<TypeParam>(problem, {20, 25, 15}, options);
    expect_same_bits(distributed_mw_loss<TypeParam>(problem, {20, 25, 15}, options), once);
  }
}

/// Enough scores for the threads to deposit on grids of their own.
TYPED_TEST(MwInvariance, ThreadsDoNotMatter) {
  const LossProblem problem = random_problem(290, 517, 8, 0.05, false, true);
  const int threads = omp_get_max_threads();
  for (const bool per_query : {false, true}) {
    const MwOptions options{.per_query = per_query, .grid_points = per_query ? 0 : mw_grid_points(0.05)};
    omp_set_num_threads(1);
    const LossResult one = mw_loss<TypeParam>(problem, options);
    omp_set_num_threads(3);
    const LossResult three = mw_loss<TypeParam>(problem, options);
    const LossResult again = mw_loss<TypeParam>(problem, options);
    omp_set_num_threads(threads);
    expect_equal(three, one, this->kTolerance);
    expect_same_bits(again, three);
  }
}

TEST(MwMemory, DoesNotHoldTheScores) {
  const std::int64_t queries = 2048, candidates = 16384;  // 128 MiB of scores in fp32
  const LossProblem problem = random_problem(queries, candidates, 2, 0.05, false, false);
  const auto peak_kib = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const auto before = peak_kib();
  EXPECT_GT(mw_loss<float>(problem, {.tile_columns = 512}).value, 0);
  EXPECT_LT(peak_kib() - before, 32 * 1024);
}

}  // namespace
}  // namespace toller
