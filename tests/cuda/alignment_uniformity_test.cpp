// Alignment and uniformity on the GPU backend, on several ranks, against the CPU in double on the same
// numbers.
#include <gtest/gtest.h>

#include "cuda/gpu_loss.h"
#include "loss/alignment_uniformity_problem.h"

namespace toller {
namespace {

template <class T>
class AlignmentUniformityOnTheGpu : public testing::Test {};
using GpuElements = testing::Types<float, BFloat16>;
TYPED_TEST_SUITE(AlignmentUniformityOnTheGpu, GpuElements);

/// bfloat16: unit vectors are rounded anew, by 2⁻⁹ of each number, and so are gradients of scores; a score is
/// wrong by 2⁻⁸ at most, and an exponent by four times that.
TYPED_TEST(AlignmentUniformityOnTheGpu, AgreesWithTheCpu) {
  const LossProblem problem = rounded_problem<TypeParam>(problem_with_brought_documents(13, 16));
  const bool exact = std::is_same_v<TypeParam, float>;
  for (const bool calibrated : {false, true}) {
    AlignmentUniformityOptions options{.uniformity_weight = 0.5, .calibrated = calibrated};
    const LossResult expected = alignment_loss<double>(problem, options);
    options.tile_rows = 6;
    options.tile_columns = 16;
    const auto make_loss = with_options(make_alignment_uniformity<TypeParam>, options);
    for (const std::vector<std::int64_t>& counts : {std::vector<std::int64_t>{13}, {6, 7}, {8, 0, 5}}) {
      SCOPED_TRACE(testing::PrintToString(counts));
      const LossResult result = counts.size() == 1 ? queued_gpu_loss_of<TypeParam>(problem, make_loss)
                                                   : gpu_loss_of<TypeParam>(problem, make_loss, counts);
      EXPECT_NEAR(result.value, expected.value, exact ? 1e-5 : 0x1p-8);
      expect_equal_gradients(result, expected, exact ? 1e-5 : 0x1p-6);
    }
  }
}

}  // namespace
}  // namespace toller
