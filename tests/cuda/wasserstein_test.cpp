// The Wasserstein loss on the GPU backend against the CPU backend in double on the same numbers.
#include <gtest/gtest.h>

#include "cuda/gpu_loss.h"
#include "loss/wasserstein_problem.h"

namespace toller {
namespace {

template <class T>
LossResult on_gpu(const LossProblem& problem, const std::vector<std::int64_t>& counts,
                  const WassersteinOptions& options) {
  return gpu_loss_of<T>(problem, with_options(make_wasserstein<T>, options), counts);
}

void expect_near(const LossResult& actual, const LossResult& expected, double of_gradient) {
  EXPECT_LT(relative_difference({actual.value}, {expected.value}), 1e-6);
  expect_equal_gradients(actual, expected, of_gradient);
}

// Scores in float are wrong by 2⁻²⁵ and exponents by that over the temperature, 0.1.
TEST(WassersteinOnTheGpu, IsTheCpusInFloat) {
  for (const bool left_out : {false, true}) {
    const LossProblem problem = graded_problem(37, 12, 0.1, left_out);
    const LossResult expected = wasserstein<double>(problem);
    for (const WassersteinOptions& options : {WassersteinOptions{}, {.tile_rows = 16, .tile_columns = 33}}) {
      expect_near(on_gpu<float>(problem, {37}, options), expected, 1e-5);
    }
    expect_near(on_gpu<float>(problem, {10, 0, 27}, {.tile_columns = 40}), expected, 1e-5);
  }
}

// With embeddings that are bfloat16 already, only the gradient of scores is rounded, by up to 2⁻⁸ an element:
// less in the sums over documents and queries.
TEST(WassersteinOnTheGpu, IsTheCpusInBfloat16) {
  const LossProblem problem = rounded_problem<BFloat16>(graded_problem(37, 12, 0.1, true));
  const LossResult expected = wasserstein<double>(problem);
  for (const std::vector<std::int64_t>& counts : {std::vector<std::int64_t>{37}, {20, 17}}) {
    expect_near(on_gpu<BFloat16>(problem, counts, {.tile_rows = 16, .tile_columns = 33}), expected, 0x1p-8);
  }
}

TEST(WassersteinOnTheGpu, RepeatsItsBits) {
  const LossProblem problem = graded_problem(20, 8, 0.05, true);
  const LossResult once = on_gpu<float>(problem, {12, 8}, {.tile_columns = 20});
  expect_same_bits(on_gpu<float>(problem, {12, 8}, {.tile_columns = 20}), once);
}

}  // namespace
}  // namespace toller
