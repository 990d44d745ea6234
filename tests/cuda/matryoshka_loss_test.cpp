// The matryoshka sum of losses on the GPU backend against the CPU in double on the same numbers.
#include <gtest/gtest.h>

#include "cuda/gpu_loss.h"

namespace toller {
namespace {

template <class T>
class MatryoshkaOnTheGpu : public testing::Test {};
using GpuElements = testing::Types<float, BFloat16>;
TYPED_TEST_SUITE(MatryoshkaOnTheGpu, GpuElements);

/// The sum over dimensions 16, 11 and 3 of InfoNCE, or of the Mann–Whitney loss.
template <class T>
auto make_sum(bool mw) {
  return [mw](Ops<T>& ops, ScoreOps<T>& score_ops) {
    auto inner = mw ? make_mw<T>(ops, score_ops, {}) : make_infonce<T>(ops, score_ops, {});
    return make_matryoshka<T>(ops, score_ops, std::move(inner), {{16, 11, 3}, true});
  };
}

/// bfloat16: numbers of the cut vectors are rounded by up to 2⁻⁹ of their size, a score by up to twice that
/// of the vectors' length, and z by that over the temperature.
TYPED_TEST(MatryoshkaOnTheGpu, AgreesWithTheCpu) {
  const double temperature = 0.25;
  const LossProblem problem = rounded_problem<TypeParam>(random_problem(13, 59, 16, temperature, true));
  const double tolerance = std::is_same_v<TypeParam, float> ? 1e-5 : 0x1p-8 / temperature;
  for (const bool mw : {false, true}) {
    const LossResult expected = loss_of<double>(problem, make_sum<double>(mw));
    expect_equal(queued_gpu_loss_of<TypeParam>(problem, make_sum<TypeParam>(mw)), expected, tolerance);
    expect_equal(gpu_loss_of<TypeParam>(problem, make_sum<TypeParam>(mw), {8, 0, 5}), expected, tolerance);
  }
}

}  // namespace
}  // namespace toller
