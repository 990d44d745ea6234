// Values against the NumPy script of tests/reference, gradients against it and against central differences.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "loss/loss_problem.h"

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
  problem.symmetric = given["symmetric"];
  problem.query = flat(given["query"]);
  problem.document = flat(given["document"]);
  problem.positive = given["positive"];
  problem.excluded = given["excluded"];
  return problem;
}

template <class T>
void expect_reference(double tolerance) {
  std::ifstream file(TOLLER_SOURCE_DIR "/tests/loss/fixtures/infonce.json");
  const auto cases = nlohmann::json::parse(file);
  ASSERT_EQ(cases.size(), 5u);
  for (const auto& given : cases) {
    SCOPED_TRACE(given["name"].get<std::string>());
    const LossResult result = single_rank_loss<T>(problem_of(given), 4);
    EXPECT_LT(relative_difference({result.value}, {given["value"].get<double>()}), tolerance);
    EXPECT_LT(relative_difference(result.query, flat(given["query_gradient"])), tolerance);
    EXPECT_LT(relative_difference(result.document, flat(given["document_gradient"])), tolerance);
    EXPECT_LT(
        relative_difference({result.log_temperature}, {given["log_temperature_gradient"].get<double>()}),
        tolerance);
  }
}

TEST(InfoNceReference, AgreesInDouble) {
  expect_reference<double>(1e-12);
}

TEST(InfoNceReference, AgreesInFloat) {
  expect_reference<float>(2e-5);
}

/// Central difference with one Richardson step: the error is of fourth order in h.
double slope(const LossProblem& problem, double& x, double h) {
  const double at = x;
  const auto difference = [&](double step) {
    x = at + step;
    const double above = single_rank_loss<double>(problem, 5).value;
    x = at - step;
    const double below = single_rank_loss<double>(problem, 5).value;
    x = at;
    return (above - below) / (2 * step);
  };
  return (4 * difference(h / 2) - difference(h)) / 3;
}

struct Variant {
  bool symmetric;
  bool several;
};

class InfoNceGradient : public testing::TestWithParam<Variant> {};

TEST_P(InfoNceGradient, AgreesWithCentralDifferences) {
  LossProblem problem = random_problem(9, 13, 5, 0.2, GetParam().symmetric, GetParam().several);
  const LossResult result = single_rank_loss<double>(problem, 5);
  std::vector<double> query, document;
  for (double& x : problem.query) query.push_back(slope(problem, x, 1e-3));
  for (double& x : problem.document) document.push_back(slope(problem, x, 1e-3));
  EXPECT_LT(relative_difference(result.query, query), 1e-7);
  EXPECT_LT(relative_difference(result.document, document), 1e-7);
  const double temperature = slope(problem, problem.log_temperature, 1e-3);
  EXPECT_LT(relative_difference({result.log_temperature}, {temperature}), 1e-7);
}

INSTANTIATE_TEST_SUITE_P(Variants, InfoNceGradient,
                         testing::Values(Variant{false, false}, Variant{false, true}, Variant{true, false},
                                         Variant{true, true}),
                         [](const auto& info) {
                           return std::string(info.param.symmetric ? "Symmetric" : "QueryToDocument") +
                                  (info.param.several ? "Several" : "OnePositive");
                         });

}  // namespace
}  // namespace toller
