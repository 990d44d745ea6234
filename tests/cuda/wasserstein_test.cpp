// The Wasserstein loss on the GPU backend against the CPU backend in double on the same numbers.
#include <gtest/gtest.h>

#include <bit>

#include "cuda/cuda_backends.h"
#include "loss/wasserstein_problem.h"

namespace toller {
namespace {

template <class T>
LossResult on_gpu(const GradedProblem& problem, const std::vector<std::int64_t>& counts,
                  const WassersteinOptions& options) {
  const auto gpus = make_cuda_backends([](const std::string& message) { FAIL() << message; });
  return distributed_wasserstein<T>(problem, counts, options, [&](Communicator& communicator) {
    if constexpr (std::is_same_v<T, float>) {
      return gpus->make_float({.communicator = "mpi"}, communicator);
    } else {
      return gpus->make_bfloat16({.communicator = "mpi"}, communicator);
    }
  });
}

void expect_equal(const LossResult& actual, const LossResult& expected, double of_value, double of_gradient) {
  EXPECT_LT(relative_difference({actual.value}, {expected.value}), of_value);
  EXPECT_LT(relative_difference(actual.query, expected.query), of_gradient);
  EXPECT_LT(relative_difference(actual.document, expected.document), of_gradient);
  EXPECT_LT(relative_difference({actual.log_temperature}, {expected.log_temperature}), of_gradient);
}

// Scores in float are wrong by 2⁻²⁵ and exponents by that over the temperature, 0.1.
TEST(WassersteinOnTheGpu, IsTheCpusInFloat) {
  for (const bool left_out : {false, true}) {
    const GradedProblem problem = graded_problem(37, 12, 0.1, left_out);
    const LossResult expected = wasserstein<double>(problem);
    for (const WassersteinOptions& options : {WassersteinOptions{}, {.tile_rows = 16, .tile_columns = 33}}) {
      expect_equal(on_gpu<float>(problem, {37}, options), expected, 1e-6, 1e-5);
    }
    expect_equal(on_gpu<float>(problem, {10, 0, 27}, {.tile_columns = 40}), expected, 1e-6, 1e-5);
  }
}

// With embeddings that are bfloat16 already, only the gradient of scores is rounded, by up to 2⁻⁸ an element:
// less in the sums over documents and queries.
TEST(WassersteinOnTheGpu, IsTheCpusInBfloat16) {
  GradedProblem problem = graded_problem(37, 12, 0.1, true);
  for (std::vector<double>* numbers : {&problem.query, &problem.document}) {
    for (double& x : *numbers) {
      x = std::bit_cast<float>(std::bit_cast<std::uint32_t>(static_cast<float>(x)) & 0xFFFF0000u);
    }
  }
  const LossResult expected = wasserstein<double>(problem);
  for (const std::vector<std::int64_t>& counts : {std::vector<std::int64_t>{37}, {20, 17}}) {
    expect_equal(on_gpu<BFloat16>(problem, counts, {.tile_rows = 16, .tile_columns = 33}), expected, 1e-6,
                 0x1p-8);
  }
}

TEST(WassersteinOnTheGpu, RepeatsItsBits) {
  const GradedProblem problem = graded_problem(20, 8, 0.05, true);
  const LossResult once = on_gpu<float>(problem, {12, 8}, {.tile_columns = 20});
  const LossResult again = on_gpu<float>(problem, {12, 8}, {.tile_columns = 20});
  EXPECT_EQ(once.value, again.value);
  EXPECT_EQ(once.query, again.query);
  EXPECT_EQ(once.document, again.document);
  EXPECT_EQ(once.log_temperature, again.log_temperature);
}

}  // namespace
}  // namespace toller
