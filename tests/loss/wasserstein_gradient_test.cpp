// Values against covariances and their matrix square root (the NumPy script of tests/reference), gradients
// against the script and against central differences.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "loss/wasserstein_problem.h"

namespace toller {
namespace {

std::vector<double> flat(const nlohmann::json& rows) {
  std::vector<double> all;
  for (const auto& row : rows) {
    for (const double x : row) all.push_back(x);
  }
  return all;
}

GradedProblem problem_of(const nlohmann::json& given) {
  GradedProblem problem;
  problem.queries = static_cast<std::int64_t>(given["query"].size());
  problem.candidates = static_cast<std::int64_t>(given["document"].size());
  problem.dimension = static_cast<std::int64_t>(given["query"][0].size());
  problem.log_temperature = std::log(given["temperature"].get<double>());
  problem.query = flat(given["query"]);
  problem.document = flat(given["document"]);
  problem.own_grade = given["own_grade"];
  problem.excluded = given["excluded"];
  return problem;
}

/// The script's value has lost digits: roots of eigenvalues that should be 0.
template <class T>
void expect_reference(double value_tolerance, double tolerance) {
  std::ifstream file(TOLLER_SOURCE_DIR "/tests/loss/fixtures/wasserstein.json");
  const auto cases = nlohmann::json::parse(file);
  ASSERT_EQ(cases.size(), 7u);
  for (const auto& given : cases) {
    SCOPED_TRACE(given["name"].get<std::string>());
    const LossResult result = wasserstein<T>(problem_of(given), {.tile_rows = 3, .tile_columns = 5});
    EXPECT_NEAR(result.value, given["value"].get<double>(), value_tolerance);
    EXPECT_LT(relative_difference(result.query, flat(given["query_gradient"])), tolerance);
    EXPECT_LT(relative_difference(result.document, flat(given["document_gradient"])), tolerance);
    EXPECT_LT(
        relative_difference({result.log_temperature}, {given["log_temperature_gradient"].get<double>()}),
        tolerance);
  }
}

TEST(WassersteinReference, AgreesInDouble) {
  expect_reference<double>(1e-8, 1e-8);
}

TEST(WassersteinReference, AgreesInFloat) {
  expect_reference<float>(1e-6, 1e-4);
}

/// Central difference with one Richardson step: the error is of fourth order in h.
double slope(const GradedProblem& problem, double& x, double h) {
  const double at = x;
  const auto difference = [&](double step) {
    x = at + step;
    const double above = wasserstein<double>(problem).value;
    x = at - step;
    const double below = wasserstein<double>(problem).value;
    x = at;
    return (above - below) / (2 * step);
  };
  return (4 * difference(h / 2) - difference(h)) / 3;
}

void expect_central_differences(GradedProblem problem) {
  const LossResult result = wasserstein<double>(problem, {.tile_rows = 4, .tile_columns = 6});
  std::vector<double> query, document;
  for (double& x : problem.query) query.push_back(slope(problem, x, 1e-4));
  for (double& x : problem.document) document.push_back(slope(problem, x, 1e-4));
  EXPECT_LT(relative_difference(result.query, query), 1e-6);
  EXPECT_LT(relative_difference(result.document, document), 1e-6);
  const double temperature = slope(problem, problem.log_temperature, 1e-4);
  EXPECT_LT(relative_difference({result.log_temperature}, {temperature}), 1e-6);
}

TEST(WassersteinGradient, AgreesWithCentralDifferences) {
  for (const bool left_out : {false, true}) expect_central_differences(graded_problem(8, 5, 0.2, left_out));
}

// Queries without a document of their own: more samples than columns, and a singular Σ_Y.
TEST(WassersteinGradient, AgreesWithMoreQueriesThanDocuments) {
  GradedProblem problem = graded_problem(11, 4, 0.3, false);
  std::int64_t columns = 0;
  for (std::size_t i = 0; i < problem.own_grade.size(); ++i) {
    problem.own_grade[i].resize(i % 3 == 0 ? 1 : 0, 2);
    columns += static_cast<std::int64_t>(problem.own_grade[i].size());
  }
  problem.candidates = columns + 3;
  problem.document.resize(static_cast<std::size_t>(problem.candidates * problem.dimension));
  expect_central_differences(problem);
}

TEST(WassersteinGradient, AgreesWithOneQuery) {
  GradedProblem problem = graded_problem(1, 3, 0.3, false);
  problem.own_grade = {{3, 0}};
  expect_central_differences(problem);
}

TEST(WassersteinGradient, AgreesWithEqualLabels) {
  GradedProblem problem = graded_problem(7, 4, 0.2, false);
  for (auto& grades : problem.own_grade) std::ranges::fill(grades, 0);
  expect_central_differences(problem);
}

}  // namespace
}  // namespace toller
