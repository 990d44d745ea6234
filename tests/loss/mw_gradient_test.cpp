// Values against the NumPy script of tests/reference, gradients against it and against central differences.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "loss/mw_problem.h"

namespace toller {
namespace {

std::vector<double> flat(const nlohmann::json& rows) {
  std::vector<double> all;
  for (const auto& row : rows) {
    for (const double x : row) all.push_back(x);
  }
  return all;
}

LossProblem problem_of(const nlohmann::json& given) {
  LossProblem problem;
  problem.queries = static_cast<std::int64_t>(given["query"].size());
  problem.candidates = static_cast<std::int64_t>(given["document"].size());
  problem.dimension = static_cast<std::int64_t>(given["query"][0].size());
  problem.log_temperature = std::log(given["temperature"].get<double>());
  problem.query = flat(given["query"]);
  problem.document = flat(given["document"]);
  problem.positive = given["positive"];
  problem.excluded = given["excluded"];
  return problem;
}

template <class T>
void expect_reference(bool exact, double tolerance) {
  std::ifstream file(TOLLER_SOURCE_DIR "/tests/loss/fixtures/mw.json");
  const auto cases = nlohmann::json::parse(file);
  ASSERT_EQ(cases.size(), 7u);
  for (const auto& given : cases) {
    SCOPED_TRACE(given["name"].get<std::string>());
    const LossResult result = mw_loss<T>(
        problem_of(given), {.exact = exact, .per_query = given["scope"] == "query", .tile_columns = 4});
    EXPECT_LT(relative_difference({result.value}, {given["value"].get<double>()}), tolerance);
    EXPECT_LT(relative_difference(result.query, flat(given["query_gradient"])), tolerance);
    EXPECT_LT(relative_difference(result.document, flat(given["document_gradient"])), tolerance);
    EXPECT_LT(
        relative_difference({result.log_temperature}, {given["log_temperature_gradient"].get<double>()}),
        tolerance);
  }
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

/// Central difference with one Richardson step: the error is of fourth order in h.
double slope(const LossProblem& problem, const MwOptions& options, double& x, double h) {
  const double at = x;
  const auto difference = [&](double step) {
    x = at + step;
    const double above = mw_loss<double>(problem, options).value;
    x = at - step;
    const double below = mw_loss<double>(problem, options).value;
    x = at;
    return (above - below) / (2 * step);
  };
  return (4 * difference(h / 2) - difference(h)) / 3;
}

class MwGradient : public testing::TestWithParam<MwOptions> {};

TEST_P(MwGradient, AgreesWithCentralDifferences) {
  MwOptions options = GetParam();
  options.tile_rows = 4;
  options.tile_columns = 5;
  LossProblem problem = random_problem(9, 13, 5, 0.2, false, true);
  const LossResult result = mw_loss<double>(problem, options);
  std::vector<double> query, document;
  for (double& x : problem.query) query.push_back(slope(problem, options, x, 1e-3));
  for (double& x : problem.document) document.push_back(slope(problem, options, x, 1e-3));
  EXPECT_LT(relative_difference(result.query, query), 1e-7);
  EXPECT_LT(relative_difference(result.document, document), 1e-7);
  const double temperature = slope(problem, options, problem.log_temperature, 1e-3);
  EXPECT_LT(relative_difference({result.log_temperature}, {temperature}), 1e-7);
}

INSTANTIATE_TEST_SUITE_P(Forms, MwGradient,
                         testing::Values(MwOptions{}, MwOptions{.exact = true}, MwOptions{.per_query = true}),
                         [](const auto& info) {
                           return info.param.per_query ? "PerQuery" : info.param.exact ? "Exact" : "Grid";
                         });

}  // namespace
}  // namespace toller
