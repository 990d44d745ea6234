// Values against covariances and their matrix square root (the NumPy script of tests/reference), gradients
// against the script and against central differences.
#include <gtest/gtest.h>

#include <algorithm>

#include "loss/loss_fixture.h"
#include "loss/wasserstein_problem.h"

namespace toller {
namespace {

/// The script's value has lost digits: roots of eigenvalues that should be 0.
template <class T>
void expect_reference(double value_tolerance, double tolerance) {
  for_each_case("wasserstein.json", 7, [&](const nlohmann::json& given) {
    const LossResult result = wasserstein<T>(problem_of(given), {.tile_rows = 3, .tile_columns = 5});
    const LossResult expected = result_of(given);
    EXPECT_NEAR(result.value, expected.value, value_tolerance);
    expect_equal_gradients(result, expected, tolerance);
  });
}

TEST(WassersteinReference, AgreesInDouble) {
  expect_reference<double>(1e-8, 1e-8);
}

TEST(WassersteinReference, AgreesInFloat) {
  expect_reference<float>(1e-6, 1e-4);
}

void expect_right_gradients(const LossProblem& problem) {
  const LossResult result = wasserstein<double>(problem, {.tile_rows = 4, .tile_columns = 6});
  const auto value = [](const LossProblem& given) { return wasserstein<double>(given).value; };
  expect_central_differences(problem, value, result, 1e-4, 1e-6);
}

TEST(WassersteinGradient, AgreesWithCentralDifferences) {
  for (const bool left_out : {false, true}) expect_right_gradients(graded_problem(8, 5, 0.2, left_out));
}

// Queries without a document of their own: more samples than columns, and a singular Σ_Y.
TEST(WassersteinGradient, AgreesWithMoreQueriesThanDocuments) {
  LossProblem problem = graded_problem(11, 4, 0.3, false);
  std::vector<std::vector<std::int32_t>> own_grade(11);
  for (std::size_t i = 0; i < 11; i += 3) own_grade[i] = {problem.grade[problem.own_offsets[i]]};
  set_own_grades(problem, own_grade);
  problem.candidates = problem.own_offsets.back() + 3;
  problem.document.resize(static_cast<std::size_t>(problem.candidates * problem.dimension));
  expect_right_gradients(problem);
}

TEST(WassersteinGradient, AgreesWithOneQuery) {
  LossProblem problem = graded_problem(1, 3, 0.3, false);
  set_own_grades(problem, {{3, 0}});
  expect_right_gradients(problem);
}

TEST(WassersteinGradient, AgreesWithEqualLabels) {
  LossProblem problem = graded_problem(7, 4, 0.2, false);
  std::ranges::fill(problem.grade, 0);
  expect_right_gradients(problem);
}

}  // namespace
}  // namespace toller
