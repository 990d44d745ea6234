// Values and gradients against the NumPy script of tests/reference, gradients against central differences
// too.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "loss/list_problem.h"

namespace toller {
namespace {

std::vector<double> flat(const nlohmann::json& rows) {
  std::vector<double> all;
  for (const auto& row : rows) {
    for (const double x : row) all.push_back(x);
  }
  return all;
}

ListProblem problem_of(const nlohmann::json& given) {
  ListProblem problem;
  problem.queries = static_cast<std::int64_t>(given["query"].size());
  problem.candidates = static_cast<std::int64_t>(given["document"].size());
  problem.dimension = static_cast<std::int64_t>(given["query"][0].size());
  problem.log_temperature = std::log(given["temperature"].get<double>());
  problem.query = flat(given["query"]);
  problem.document = flat(given["document"]);
  problem.own_offsets = given["own_offsets"].get<std::vector<std::int64_t>>();
  problem.grade = given["grade"].get<std::vector<std::int32_t>>();
  problem.teacher = given["teacher"].get<std::vector<float>>();
  problem.step = given["step"];
  problem.first_query = given["first_query"];
  return problem;
}

ListLossOptions options_of(const nlohmann::json& given) {
  ListLossOptions options;
  for (const ListLossKind kind : list_loss_kinds()) {
    if (list_loss_name(kind) == given["kind"]) options.kind = kind;
  }
  options.scale = given["scale"];
  options.margin = given["margin"];
  options.negatives = given["negatives"] == "all"       ? HingeNegatives::kAll
                      : given["negatives"] == "hardest" ? HingeNegatives::kHardest
                                                        : HingeNegatives::kSemiHard;
  options.teacher_temperature = given["teacher_temperature"];
  options.samples = given["samples"];
  options.cutoff = given["cutoff"];
  options.seed = given["seed"];
  return options;
}

template <class T>
void expect_reference(double tolerance) {
  std::ifstream file(TOLLER_SOURCE_DIR "/tests/loss/fixtures/list_loss.json");
  const auto cases = nlohmann::json::parse(file);
  ASSERT_EQ(cases.size(), 17u);
  for (const auto& given : cases) {
    SCOPED_TRACE(given["name"].get<std::string>());
    const LossResult result = single_rank_list_loss<T>(problem_of(given), options_of(given));
    EXPECT_LT(relative_difference({result.value}, {given["value"].get<double>()}), tolerance);
    EXPECT_LT(relative_difference(result.query, flat(given["query_gradient"])), tolerance);
    EXPECT_LT(relative_difference(result.document, flat(given["document_gradient"])), tolerance);
    EXPECT_LT(
        relative_difference({result.log_temperature}, {given["log_temperature_gradient"].get<double>()}),
        tolerance);
  }
}

TEST(ListLossReference, AgreesInDouble) {
  expect_reference<double>(1e-12);
}

TEST(ListLossReference, AgreesInFloat) {
  expect_reference<float>(2e-5);
}

/// Central difference with one Richardson step: the error is of fourth order in h.
double slope(const ListProblem& problem, const ListLossOptions& options, double& x) {
  const double at = x, h = 1e-4;  // no two scores are so near that ranks change
  const auto difference = [&](double step) {
    x = at + step;
    const double above = single_rank_list_loss<double>(problem, options).value;
    x = at - step;
    const double below = single_rank_list_loss<double>(problem, options).value;
    x = at;
    return (above - below) / (2 * step);
  };
  return (4 * difference(h / 2) - difference(h)) / 3;
}

class ListLossGradient : public testing::TestWithParam<ListLossKind> {};

TEST_P(ListLossGradient, AgreesWithCentralDifferences) {
  ListProblem problem = random_lists(5, 4, 0.2, mixed_length);
  const ListLossOptions options{.kind = GetParam(), .margin = 0.31};
  const LossResult result = single_rank_list_loss<double>(problem, options);
  std::vector<double> query, document;
  for (double& x : problem.query) query.push_back(slope(problem, options, x));
  for (double& x : problem.document) document.push_back(slope(problem, options, x));
  EXPECT_LT(relative_difference(result.query, query), 1e-7);
  EXPECT_LT(relative_difference(result.document, document), 1e-7);
  const double temperature = slope(problem, options, problem.log_temperature);
  EXPECT_LT(relative_difference({result.log_temperature}, {temperature}), 1e-7);
}

/// All but pg-rank, whose gradient is not the derivative of what was drawn.
std::vector<ListLossKind> differentiable() {
  std::vector<ListLossKind> kinds = list_loss_kinds();
  std::erase(kinds, ListLossKind::kPgRank);
  return kinds;
}

INSTANTIATE_TEST_SUITE_P(Kinds, ListLossGradient, testing::ValuesIn(differentiable()), [](const auto& info) {
  std::string name = list_loss_name(info.param);
  std::erase(name, '-');
  return name;
});

}  // namespace
}  // namespace toller
