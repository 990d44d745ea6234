// The cases that the scripts of tests/reference wrote to tests/loss/fixtures, and central differences.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "loss/loss_problem.h"

namespace toller {

/// Calls check(case) for every case of the file, of which there must be `count`.
template <class Check>
void for_each_case(const std::string& file_name, std::size_t count, const Check& check) {
  std::ifstream file(TOLLER_SOURCE_DIR "/tests/loss/fixtures/" + file_name);
  const auto cases = nlohmann::json::parse(file);
  ASSERT_EQ(cases.size(), count);
  for (const auto& given : cases) {
    SCOPED_TRACE(given["name"].get<std::string>());
    check(given);
  }
}

/// A matrix, row by row.
inline std::vector<double> flat(const nlohmann::json& rows) {
  std::vector<double> all;
  for (const auto& row : rows) {
    for (const double x : row) all.push_back(x);
  }
  return all;
}

/// Lists that the case does not have stay empty. Own documents: by column (`own_offsets`, `grade`) or by
/// query
/// (`own_grade`).
inline LossProblem problem_of(const nlohmann::json& given) {
  LossProblem problem;
  problem.queries = static_cast<std::int64_t>(given["query"].size());
  problem.candidates = static_cast<std::int64_t>(given["document"].size());
  problem.dimension = static_cast<std::int64_t>(given["query"][0].size());
  problem.log_temperature = std::log(given["temperature"].get<double>());
  problem.query = flat(given["query"]);
  problem.document = flat(given["document"]);
  problem.positive = given.value("positive", problem.positive);
  problem.excluded = given.value("excluded", problem.excluded);
  problem.own_offsets = given.value("own_offsets", problem.own_offsets);
  problem.grade = given.value("grade", problem.grade);
  if (given.contains("own_grade")) set_own_grades(problem, given["own_grade"]);
  problem.teacher = given.value("teacher", problem.teacher);
  problem.step = given.value("step", problem.step);
  problem.first_query = given.value("first_query", problem.first_query);
  return problem;
}

/// What the script has calculated.
inline LossResult result_of(const nlohmann::json& given) {
  return {.value = given["value"],
          .log_temperature = given["log_temperature_gradient"],
          .query = flat(given["query_gradient"]),
          .document = flat(given["document_gradient"])};
}

/// Central difference of value() in x with one Richardson step: the error is of fourth order in h.
template <class Value>
double slope(const Value& value, double& x, double h) {
  const double at = x;
  const auto difference = [&](double step) {
    x = at + step;
    const double above = value();
    x = at - step;
    const double below = value();
    x = at;
    return (above - below) / (2 * step);
  };
  return (4 * difference(h / 2) - difference(h)) / 3;
}

/// The gradients of `result` against differences of value(problem).
template <class Value>
void expect_central_differences(LossProblem problem, const Value& value, const LossResult& result, double h,
                                double tolerance) {
  const auto slope_at = [&](double& x) { return slope([&] { return value(problem); }, x, h); };
  LossResult differences;
  for (double& x : problem.query) differences.query.push_back(slope_at(x));
  for (double& x : problem.document) differences.document.push_back(slope_at(x));
  differences.log_temperature = slope_at(problem.log_temperature);
  expect_equal_gradients(result, differences, tolerance);
}

}  // namespace toller
