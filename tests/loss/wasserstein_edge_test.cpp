// Corners: scores that match their labels, kinks, extreme temperatures and grades, values that are not
// numbers, lists that are wrong.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "comm/host_tensor_communicator.h"
#include "error.h"
#include "loss/wasserstein_problem.h"

namespace toller {
namespace {

template <class T>
class WassersteinEdge : public testing::Test {
 protected:
  static constexpr double kRounding = std::is_same_v<T, float> ? 1e-6 : 1e-13;
};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(WassersteinEdge, Elements);

/// Query i is the i-th unit vector, its documents are that times their grade, so that scores are labels.
LossProblem matching_problem() {
  LossProblem problem{.queries = 4, .candidates = 8, .dimension = 4};
  set_own_grades(problem, {{3, 0}, {1, 2}, {}, {2, 0, 1}});
  problem.query.resize(16);
  problem.document.resize(32);
  for (std::int64_t i = 0; i < 4; ++i) {
    problem.query[i * 5] = 1;
    for (std::int64_t column = problem.own_offsets[i]; column < problem.own_offsets[i + 1]; ++column) {
      problem.document[column * 4 + i] = problem.grade[column];
    }
  }
  return problem;
}

TYPED_TEST(WassersteinEdge, IsZeroWhereScoresAreLabels) {
  const LossResult result = wasserstein<TypeParam>(matching_problem(), {.tile_columns = 3});
  EXPECT_NEAR(result.value, 0, this->kRounding);
  for (const double x : result.document) EXPECT_NEAR(x, 0, 10 * this->kRounding);
  EXPECT_NEAR(result.log_temperature, 0, 10 * this->kRounding);
}

TYPED_TEST(WassersteinEdge, MatchesOneQueryByHand) {
  // Scores 0.5, 0.25 at temperature 1/2, and grades 1, 0: two probabilities each.
  const LossProblem problem{.queries = 1,
                            .candidates = 2,
                            .dimension = 1,
                            .log_temperature = std::log(0.5),
                            .query = {1},
                            .document = {0.5, 0.25},
                            .own_offsets = {0, 2},
                            .grade = {1, 0}};
  const LossResult result = wasserstein<TypeParam>(problem);
  const double x = 1 / (1 + std::exp(-0.5)), y = 1 / (1 + std::exp(-1.0));
  const double of_z = 4 * (x - y) * x * (1 - x);  // L = 2 (x − y)²
  EXPECT_NEAR(result.value, 2 * (x - y) * (x - y), 1e-7);
  EXPECT_NEAR(result.document[0], 2 * of_z, 1e-6);
  EXPECT_NEAR(result.document[1], -2 * of_z, 1e-6);
  EXPECT_NEAR(result.query[0], 2 * of_z * 0.25, 1e-6);
  EXPECT_NEAR(result.log_temperature, -of_z * 0.5, 1e-6);
}

// The order of queries does not matter to a distance of distributions: labels of query i at documents of
// query i or of its neighbour are as near to rows that are exchanged likewise.
TYPED_TEST(WassersteinEdge, DoesNotKnowWhichRowIsWhose) {
  LossProblem problem = graded_problem(5, 4, 0.2, false);
  const double value = wasserstein<TypeParam>(problem).value;
  std::rotate(problem.query.begin(), problem.query.begin() + 4, problem.query.end());
  EXPECT_NEAR(wasserstein<TypeParam>(problem).value, value, this->kRounding);
}

TYPED_TEST(WassersteinEdge, HoldsAtLowTemperatures) {
  for (const double temperature : {0.005, 0.001}) {
    expect_finite(wasserstein<TypeParam>(graded_problem(40, 3, temperature, true), {.tile_columns = 30}));
    // Scores of 1 at the query's own document and −1 at the other's.
    LossProblem problem{.queries = 2,
                        .candidates = 2,
                        .dimension = 1,
                        .log_temperature = std::log(temperature),
                        .query = {1, -1},
                        .document = {1, -1},
                        .own_offsets = {0, 1, 2},
                        .grade = {30, 30}};
    const LossResult best = wasserstein<TypeParam>(problem, {.tile_columns = 1});
    EXPECT_NEAR(best.value, 0, 1e-6);
    EXPECT_NEAR(best.query[0], 0, 1e-4);
    // Both queries find the first document: ‖μ_X − μ_Y‖² = 1/2, Tr Σ_X = 0, Tr Σ_Y = 1.
    problem.query = {1, 1};
    EXPECT_NEAR(wasserstein<TypeParam>(problem).value, 1.5, 1e-6);
  }
}

TYPED_TEST(WassersteinEdge, TakesAnyGrade) {
  LossProblem problem = graded_problem(6, 3, 0.1, false);
  problem.grade[problem.own_offsets[1]] = std::numeric_limits<std::int32_t>::max();
  problem.grade[problem.own_offsets[2] + 1] = 800;
  expect_finite(wasserstein<TypeParam>(problem));
}

TYPED_TEST(WassersteinEdge, IsFiniteWhereQueriesOrDocumentsCoincide) {
  LossProblem queries = graded_problem(9, 3, 0.1, false), documents = queries, all = queries;
  std::copy_n(queries.query.begin(), 3, queries.query.begin() + 12);
  std::copy_n(documents.document.begin(), 3, documents.document.begin() + 9);
  for (std::size_t i = 3; i < all.query.size(); ++i) all.query[i] = all.query[i - 3];
  for (std::size_t i = 3; i < all.document.size(); ++i) all.document[i] = all.document[i - 3];
  for (const LossProblem& problem : {queries, documents, all}) {
    const LossResult result = wasserstein<TypeParam>(problem, {.tile_columns = 4});
    expect_finite(result);
    for (const double x : result.query) EXPECT_LT(std::abs(x), 10);
  }
}

TYPED_TEST(WassersteinEdge, LeftOutDocumentsDoNotMatter) {
  LossProblem problem = graded_problem(1, 4, 0.1, false);
  set_own_grades(problem, {{2, -1}});  // and column 2, which nobody brought
  problem.excluded = {{2}};
  LossProblem more = problem;
  more.candidates = 4;
  more.document.insert(more.document.end(), {0.1, 0.2, 0.3, 0.4});
  for (LossProblem* given : {&problem, &more}) {
    const LossResult before = wasserstein<TypeParam>(*given, {.tile_columns = 2});
    for (int j = 0; j < 8; ++j) given->document[4 + j] = 3;
    const LossResult after = wasserstein<TypeParam>(*given, {.tile_columns = 2});
    EXPECT_EQ(before.value, after.value);
    EXPECT_EQ(before.document, after.document);
    for (int j = 0; j < 8; ++j) EXPECT_EQ(before.document[4 + j], 0);
  }
}

TYPED_TEST(WassersteinEdge, ExcludedOwnDocumentsAreLeftOut) {
  LossProblem excluded = graded_problem(6, 4, 0.1, false), left_out = excluded;
  for (const std::int64_t i : {2, 4}) {
    const std::int64_t column = excluded.own_offsets[i];
    excluded.excluded[i] = {static_cast<std::int32_t>(column)};
    left_out.grade[column] = -1;
  }
  const LossResult result = wasserstein<TypeParam>(excluded), expected = wasserstein<TypeParam>(left_out);
  EXPECT_EQ(result.value, expected.value);
  EXPECT_EQ(result.query, expected.query);
  EXPECT_EQ(result.document, expected.document);
}

TYPED_TEST(WassersteinEdge, HoldsWhereEverythingIsLeftOut) {
  LossProblem problem = graded_problem(3, 2, 0.1, false);
  for (std::int32_t m = 0; m < problem.candidates; ++m) problem.excluded[1].push_back(m);
  expect_finite(wasserstein<TypeParam>(problem));
  std::fill_n(problem.grade.begin() + problem.own_offsets[1], 2, -1);
  expect_finite(wasserstein<TypeParam>(problem));
}

TYPED_TEST(WassersteinEdge, GivesNaNForNaN) {
  const std::vector<LossProblem> all = problems_with_nan(graded_problem(5, 3, 0.1, true));
  for (const std::int64_t tile : {4, 64}) {
    for (const LossProblem& bad : all) {
      EXPECT_TRUE(std::isnan(wasserstein<TypeParam>(bad, {.tile_columns = tile}).value));
    }
    EXPECT_TRUE(std::isnan(distributed_wasserstein<TypeParam>(all[0], {2, 3}, {.tile_columns = tile}).value));
  }
}

TYPED_TEST(WassersteinEdge, ARankWithoutQueriesHasNoGradient) {
  const LossResult part = loss_without_queries<TypeParam>(graded_problem(4, 3, 0.1, false),
                                                          with_options(make_wasserstein<TypeParam>, {}));
  EXPECT_EQ(part.log_temperature, 0);
}

TEST(WassersteinCheck, RejectsWrongLists) {
  const auto ops = make_cpu_ops<double>();
  const auto score_ops = make_cpu_score_ops<double>();
  const auto loss = make_wasserstein<double>(*ops, *score_ops, {});
  SelfCommunicator self;
  HostTensorCommunicator tensors(self);
  const std::vector<double> query{1, 1}, document{1, 1, 1};
  std::vector<double> dquery(2), ddocument(3);
  const double log_temperature = 0;
  double value = 0, dtemperature = 0;
  const auto compute = [&](std::vector<std::int64_t> own_offsets, std::vector<std::int32_t> own_grade,
                           std::vector<std::int64_t> excluded_offsets = {0, 0, 0},
                           std::vector<std::int32_t> excluded = {}, std::int64_t first_query = 0) {
    loss->compute({.queries = 2,
                   .global_queries = 2,
                   .candidates = 3,
                   .dimension = 1,
                   .query = query.data(),
                   .document = document.data(),
                   .positive_offsets = {},
                   .positive = {},
                   .excluded_offsets = excluded_offsets,
                   .excluded = excluded,
                   .own_offsets = own_offsets,
                   .own_grade = own_grade,
                   .first_query = first_query},
                  &log_temperature, tensors, {dquery.data(), ddocument.data(), &dtemperature, &value});
  };
  EXPECT_NO_THROW(compute({0, 1, 3}, {1, 0, 2}));
  EXPECT_NO_THROW(compute({1, 2, 3}, {1, 0}));
  EXPECT_THROW(compute({}, {}), Error);
  EXPECT_THROW(compute({0, 3}, {1, 0, 2}), Error);
  EXPECT_THROW(compute({0, 2, 1}, {1}), Error);
  EXPECT_THROW(compute({0, 1, 3}, {1, 0}), Error);
  EXPECT_THROW(compute({2, 3, 4}, {1, 0}), Error);
  EXPECT_THROW(compute({-1, 0, 1}, {1, 0}), Error);
  EXPECT_THROW(compute({0, 1, 3}, {1, 0, 2}, {0, 0, 1}, {3}), Error);
  EXPECT_THROW(compute({0, 1, 3}, {1, 0, 2}, {0, 0}, {}), Error);
  EXPECT_THROW(compute({0, 1, 3}, {1, 0, 2}, {0, 0, 0}, {}, 1), Error);
}

TEST(WassersteinCheck, RejectsNegativeTiles) {
  const auto ops = make_cpu_ops<float>();
  const auto score_ops = make_cpu_score_ops<float>();
  EXPECT_THROW(make_wasserstein<float>(*ops, *score_ops, {.tile_columns = -1}), UsageError);
  EXPECT_THROW(make_wasserstein<float>(*ops, *score_ops, {.tile_rows = -1}), UsageError);
}

}  // namespace
}  // namespace toller
