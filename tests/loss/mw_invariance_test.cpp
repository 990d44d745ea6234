// The same loss and gradients for any tile size, division into ranks and number of threads.
#include <gtest/gtest.h>

#include "loss/loss_resources.h"
#include "loss/mw_problem.h"

namespace toller {
namespace {

template <class T>
class MwInvariance : public testing::Test {
 protected:
  static constexpr double kTolerance = std::is_same_v<T, float> ? 1e-5 : 1e-12;
};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(MwInvariance, Elements);

TYPED_TEST(MwInvariance, TilesDoNotMatter) {
  const LossProblem problem = random_problem(70, 227, 12, 0.05, true);
  for (MwOptions options : mw_forms()) {
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
  const LossProblem problem = random_problem(71, 305, 12, 0.05, true);
  for (MwOptions options : mw_forms()) {
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
  const LossProblem problem = random_problem(60, 97, 8, 0.02, true);
  for (const MwOptions& options : mw_forms()) {
    const LossResult once = distributed_mw_loss<TypeParam>(problem, {20, 25, 15}, options);
    expect_same_bits(distributed_mw_loss<TypeParam>(problem, {20, 25, 15}, options), once);
  }
}

/// Enough scores for the threads to deposit on grids of their own.
TYPED_TEST(MwInvariance, ThreadsDoNotMatter) {
  const LossProblem problem = random_problem(290, 517, 8, 0.05, true);
  for (const bool per_query : {false, true}) {
    const MwOptions options{.per_query = per_query, .grid_points = per_query ? 0 : mw_grid_points(0.05)};
    expect_threads_do_not_matter([&] { return mw_loss<TypeParam>(problem, options); }, this->kTolerance);
  }
}

TEST(MwMemory, DoesNotHoldTheScores) {
  const std::int64_t queries = 2048, candidates = 16384;  // 128 MiB of scores in fp32
  const LossProblem problem = random_problem(queries, candidates, 2, 0.05, false);
  expect_less_memory(32 * 1024, [&] { return mw_loss<float>(problem, {.tile_columns = 512}); });
}

}  // namespace
}  // namespace toller
