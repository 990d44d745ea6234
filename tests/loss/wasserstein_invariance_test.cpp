// The same loss and gradients for any tile size, division into ranks and number of threads.
#include <gtest/gtest.h>

#include "loss/loss_resources.h"
#include "loss/wasserstein_problem.h"

namespace toller {
namespace {

template <class T>
class WassersteinInvariance : public testing::Test {
 protected:
  static constexpr double kTolerance = std::is_same_v<T, float> ? 1e-5 : 1e-11;
};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(WassersteinInvariance, Elements);

TYPED_TEST(WassersteinInvariance, TilesDoNotMatter) {
  const LossProblem problem = graded_problem(120, 12, 0.1, true);
  const LossResult whole = wasserstein<TypeParam>(problem, {.tile_rows = 120, .tile_columns = 400});
  for (const std::int64_t tile : {1, 16, 65, 301, 1024}) {
    SCOPED_TRACE(tile);
    expect_equal(wasserstein<TypeParam>(problem, {.tile_rows = tile, .tile_columns = tile}), whole,
                 this->kTolerance);
  }
}

TYPED_TEST(WassersteinInvariance, RanksDoNotMatter) {
  for (const bool left_out : {false, true}) {
    const LossProblem problem = graded_problem(121, 12, 0.1, left_out);
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
  const LossProblem problem = graded_problem(60, 8, 0.05, true);
  const WassersteinOptions options{.tile_rows = 16, .tile_columns = 40};
  const LossResult once = distributed_wasserstein<TypeParam>(problem, {20, 25, 15}, options);
  expect_same_bits(distributed_wasserstein<TypeParam>(problem, {20, 25, 15}, options), once);
}

TYPED_TEST(WassersteinInvariance, ThreadsDoNotMatter) {
  const LossProblem problem = graded_problem(200, 8, 0.1, true);
  expect_threads_do_not_matter([&] { return wasserstein<TypeParam>(problem); }, this->kTolerance);
}

TEST(WassersteinMemory, DoesNotHoldTheScores) {
  LossProblem problem = graded_problem(128, 2, 0.1, false);
  problem.candidates = 1 << 18;  // 128 MiB of scores in fp32, 2^36 numbers of covariance
  problem.document.resize(static_cast<std::size_t>(2 * problem.candidates), 0.7);
  expect_less_memory(40 * 1024, [&] { return wasserstein<float>(problem); });
}

}  // namespace
}  // namespace toller
