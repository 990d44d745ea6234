// Losses of pairs on the GPU backend, on several ranks, against the CPU in double on the same numbers.
#include <gtest/gtest.h>

#include "cuda/gpu_loss.h"
#include "loss/pair_problem.h"

namespace toller {
namespace {

template <class T>
class PairLossesOnTheGpu : public testing::Test {};
using GpuElements = testing::Types<float, BFloat16>;
TYPED_TEST_SUITE(PairLossesOnTheGpu, GpuElements);

/// bfloat16: a gradient of a score is rounded by 2⁻⁹ of its size.
TYPED_TEST(PairLossesOnTheGpu, AgreeWithTheCpu) {
  const LossProblem problem = rounded_problem<TypeParam>(problem_with_own_documents(13, 16));
  const double tolerance = std::is_same_v<TypeParam, float> ? 1e-5 : 0x1p-8;
  for (const PairLossOptions& options : pair_losses()) {
    SCOPED_TRACE(name_of(options));
    const LossResult expected = pair_loss<double>(problem, options);
    const auto make_loss = with_options(make_pair_loss<TypeParam>, with_tile(options, 6, 16));
    for (const std::vector<std::int64_t>& counts : {std::vector<std::int64_t>{13}, {6, 7}, {8, 0, 5}}) {
      SCOPED_TRACE(testing::PrintToString(counts));
      const LossResult result = counts.size() == 1 ? queued_gpu_loss_of<TypeParam>(problem, make_loss)
                                                   : gpu_loss_of<TypeParam>(problem, make_loss, counts);
      EXPECT_NEAR(result.value, expected.value, 1e-5 * expected.value);
      expect_equal_gradients(result, expected, tolerance);
    }
  }
}

}  // namespace
}  // namespace toller
