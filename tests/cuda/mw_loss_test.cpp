// The Mann–Whitney loss on the GPU backend: all forms, on several ranks, against the CPU's exact form in
// double on the same numbers.
#include <gtest/gtest.h>

#include <cmath>
#include <type_traits>

#include "cuda/gpu_loss.h"
#include "loss/mw_problem.h"

namespace toller {
namespace {

template <class T>
class MwOnTheGpu : public testing::Test {};
using GpuElements = testing::Types<float, BFloat16>;
TYPED_TEST_SUITE(MwOnTheGpu, GpuElements);

/// bfloat16: a gradient of a score is rounded by 2⁻⁹ of its size.
TYPED_TEST(MwOnTheGpu, AgreesWithTheCpu) {
  const LossProblem problem = rounded_problem<TypeParam>(random_problem(13, 59, 16, 0.05, true));
  const double tolerance = std::is_same_v<TypeParam, float> ? 1e-5 : 0x1p-8;
  for (MwOptions options : {MwOptions{.grid_points = mw_grid_points(0.05)}, MwOptions{.exact = true},
                            MwOptions{.per_query = true}}) {
    const LossResult expected = mw_loss<double>(problem, {.exact = true, .per_query = options.per_query});
    options.tile_rows = 6;
    options.tile_columns = 32;
    for (const std::vector<std::int64_t>& counts : {std::vector<std::int64_t>{13}, {6, 7}, {8, 0, 5}}) {
      SCOPED_TRACE(testing::PrintToString(counts) + (options.exact       ? ", exact"
                                                     : options.per_query ? ", per query"
                                                                         : ", grid"));
      const auto make_loss = with_options(make_mw<TypeParam>, options);
      const LossResult result = counts.size() == 1 && !options.exact
                                    ? queued_gpu_loss_of<TypeParam>(problem, make_loss)
                                    : gpu_loss_of<TypeParam>(problem, make_loss, counts);
      EXPECT_NEAR(result.value, expected.value, 1e-5 * expected.value);
      EXPECT_NEAR(result.log_temperature, expected.log_temperature,
                  1e-5 * std::abs(expected.log_temperature));
      EXPECT_LT(relative_difference(result.query, expected.query), tolerance);
      EXPECT_LT(relative_difference(result.document, expected.document), tolerance);
    }
  }
}

}  // namespace
}  // namespace toller
