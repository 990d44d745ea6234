// The same loss and gradients for any tile size, division into ranks and number of threads.
#include <gtest/gtest.h>

#include "loss/infonce_problem.h"
#include "loss/loss_resources.h"

namespace toller {
namespace {

template <class T>
class InfoNceInvariance : public testing::Test {
 protected:
  static constexpr double kTolerance = std::is_same_v<T, float> ? 1e-5 : 1e-12;
};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(InfoNceInvariance, Elements);

TYPED_TEST(InfoNceInvariance, TilesDoNotMatter) {
  const LossProblem problem = random_problem(300, 517, 12, 0.05, true);
  for (const bool symmetric : {false, true}) {
    const LossResult whole = infonce_loss<TypeParam>(problem, {.symmetric = symmetric, .tile_columns = 517});
    for (const std::int64_t tile : {1, 16, 65, 516, 1024}) {
      SCOPED_TRACE(tile);
      expect_equal(infonce_loss<TypeParam>(problem, {.symmetric = symmetric, .tile_columns = tile}), whole,
                   this->kTolerance);
    }
  }
}

TYPED_TEST(InfoNceInvariance, RanksDoNotMatter) {
  const LossProblem problem = random_problem(301, 605, 12, 0.05, true);
  for (const bool symmetric : {false, true}) {
    const InfoNceOptions options{.symmetric = symmetric, .tile_columns = 100};
    const LossResult alone = infonce_loss<TypeParam>(problem, options);
    const std::vector<std::vector<std::int64_t>> divisions = {
        {301}, {300, 1}, {0, 301}, {100, 101, 100}, {120, 0, 181}, {76, 75, 75, 75}, {0, 150, 151, 0}};
    for (const auto& counts : divisions) {
      SCOPED_TRACE(testing::PrintToString(counts));
      expect_equal(distributed_infonce_loss<TypeParam>(problem, counts, options), alone, this->kTolerance);
    }
  }
}

TYPED_TEST(InfoNceInvariance, RepeatsItsBitsForTheSameRanks) {
  const LossProblem problem = random_problem(60, 97, 8, 0.02, true);
  const InfoNceOptions options{.symmetric = true, .tile_columns = 40};
  const LossResult once = distributed_infonce_loss<TypeParam>(problem, {20, 25, 15}, options);
  expect_same_bits(distributed_infonce_loss<TypeParam>(problem, {20, 25, 15}, options), once);
}

TYPED_TEST(InfoNceInvariance, ThreadsDoNotMatter) {
  const LossProblem problem = random_problem(290, 517, 8, 0.05, true);
  expect_threads_do_not_matter(
      [&] { return infonce_loss<TypeParam>(problem, {.symmetric = true, .tile_columns = 200}); },
      this->kTolerance);
}

TEST(InfoNceMemory, DoesNotHoldTheScores) {
  const std::int64_t queries = 2048, candidates = 16384;  // 128 MiB of scores in fp32
  const LossProblem problem = random_problem(queries, candidates, 2, 0.05, false);
  expect_less_memory(32 * 1024,
                     [&] { return infonce_loss<float>(problem, {.symmetric = true, .tile_columns = 512}); });
}

}  // namespace
}  // namespace toller
