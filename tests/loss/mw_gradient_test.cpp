// Values against the NumPy script of tests/reference, gradients against it and against central differences.
#include <gtest/gtest.h>

#include "loss/loss_fixture.h"
#include "loss/mw_problem.h"

namespace toller {
namespace {

template <class T>
void expect_reference(bool exact, double tolerance) {
  for_each_case("mw.json", 7, [&](const nlohmann::json& given) {
    const MwOptions options{.exact = exact, .per_query = given["scope"] == "query", .tile_columns = 4};
    expect_equal(mw_loss<T>(problem_of(given), options), result_of(given), tolerance);
  });
}

TEST(MwReference, AgreesInDouble) {
  expect_reference<double>(true, 1e-12);
  expect_reference<double>(false, 1e-8);
}

/// Scores are rounded to 2⁻²⁴, that is, at the lowest temperature, z by 10⁻⁵.
TEST(MwReference, AgreesInFloat) {
  expect_reference<float>(true, 2e-5);
  expect_reference<float>(false, 2e-5);
}

class MwGradient : public testing::TestWithParam<MwOptions> {};

TEST_P(MwGradient, AgreesWithCentralDifferences) {
  MwOptions options = GetParam();
  options.tile_rows = 4;
  options.tile_columns = 5;
  const LossProblem problem = random_problem(9, 13, 5, 0.2, true);
  const auto value = [&](const LossProblem& given) { return mw_loss<double>(given, options).value; };
  expect_central_differences(problem, value, mw_loss<double>(problem, options), 1e-3, 1e-7);
}

INSTANTIATE_TEST_SUITE_P(Forms, MwGradient,
                         testing::Values(MwOptions{}, MwOptions{.exact = true}, MwOptions{.per_query = true}),
                         [](const auto& info) {
                           return info.param.per_query ? "PerQuery" : info.param.exact ? "Exact" : "Grid";
                         });

}  // namespace
}  // namespace toller
