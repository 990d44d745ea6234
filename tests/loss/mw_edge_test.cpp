// Corners: nothing to compare with, ties, extreme temperatures, values that are not numbers, wrong lists, a
// grid that would be too large.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "error.h"
#include "loss/mw_problem.h"

namespace toller {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

template <class T>
class MwEdge : public testing::Test {};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(MwEdge, Elements);

MwOptions with_tile(MwOptions options, std::int64_t columns) {
  options.tile_columns = columns;
  return options;
}

TYPED_TEST(MwEdge, IsZeroWithoutNegatives) {
  for (const MwOptions& options : mw_forms()) {
    for (const LossProblem& problem : problems_without_negatives()) {
      expect_all_zero(mw_loss<TypeParam>(problem, with_tile(options, 2)));
    }
  }
}

TYPED_TEST(MwEdge, MatchesOneQueryByHand) {
  // Scores 0.5 (positive), 0.25 and −0.5, temperature 1/2: z = −0.5 and −2.
  const double s1 = 1 / (1 + std::exp(0.5)), s2 = 1 / (1 + std::exp(2.0));
  for (const MwOptions& options : mw_forms()) {
    const LossResult result = mw_loss<TypeParam>(problem_of_scores({0.5, 0.25, -0.5}, 1, 0.5), options);
    EXPECT_NEAR(result.value, (std::log1p(std::exp(-0.5)) + std::log1p(std::exp(-2.0))) / 2, 1e-6);
    EXPECT_NEAR(result.document[0], -(s1 + s2), 1e-6);
    EXPECT_NEAR(result.document[1], s1, 1e-6);
    EXPECT_NEAR(result.document[2], s2, 1e-6);
    EXPECT_NEAR(result.query[0], -0.5 * (s1 + s2) + 0.25 * s1 - 0.5 * s2, 1e-6);
    EXPECT_NEAR(result.log_temperature, (0.5 * s1 + 2 * s2) / 2, 1e-6);
  }
}

/// The scores of all queries meet: a positive of query 0 meets the negative of query 1.
TYPED_TEST(MwEdge, PairsCrossQueriesUnlessTheyAreRestricted) {
  // Scores 0.8, 0.2 of query 0 and 0.5, −0.1 of query 1; positives are 0.8 and −0.1.
  LossProblem problem{
      2, 4, 2, std::log(0.1), {1, 0, 0, 1}, {0.8, 0, 0.2, 0, 0, 0.5, 0, -0.1}, {{0}, {3}}, {{2, 3}, {0, 1}}};
  const auto term = [](double positive, double negative) {
    return std::log1p(std::exp((negative - positive) / 0.1));
  };
  const double own = term(0.8, 0.2) + term(-0.1, 0.5), crossed = term(0.8, 0.5) + term(-0.1, 0.2);
  EXPECT_NEAR(mw_loss<TypeParam>(problem, {.per_query = true}).value, own / 2, 1e-6);
  EXPECT_NEAR(mw_loss<TypeParam>(problem, {.exact = true}).value, (own + crossed) / 4, 1e-6);
  EXPECT_NEAR(mw_loss<TypeParam>(problem, {}).value, (own + crossed) / 4, 1e-6);
}

TYPED_TEST(MwEdge, TiesCountAsLogTwo) {
  for (const double score : {-1.0, 0.0, 0.7, 1.0}) {
    for (const double temperature : {0.005, 1.0}) {
      for (const MwOptions& options : mw_forms()) {
        const LossProblem problem = problem_of_scores(std::vector<double>(9, score), 3, temperature);
        const LossResult result = mw_loss<TypeParam>(problem, options);
        EXPECT_NEAR(result.value, std::log(2.0), 1e-6);
        EXPECT_NEAR(result.log_temperature, 0, 1e-6);
        for (std::size_t j = 0; j < 9; ++j) {
          EXPECT_NEAR(result.document[j] * temperature, j < 3 ? -0.5 / 3 : 0.5 / 6, 1e-6);
        }
      }
    }
  }
}

/// Positives at −1 and negatives at 1, and the other way about, at temperatures down to the trainer's least.
TYPED_TEST(MwEdge, HoldsAtTheEndsOfTheScores) {
  for (const double temperature : {0.001, 0.005, 0.1}) {
    for (const MwOptions& options : mw_forms()) {
      const LossResult worst = mw_loss<TypeParam>(problem_of_scores({-1, 1, 1}, 1, temperature), options);
      EXPECT_NEAR(worst.value, 2 / temperature, 1e-5 / temperature);
      EXPECT_NEAR(worst.log_temperature, -2 / temperature, 1e-5 / temperature);
      EXPECT_NEAR(worst.document[0], -1 / temperature, 1e-5 / temperature);
      EXPECT_NEAR(worst.document[2], 0.5 / temperature, 1e-5 / temperature);
      const LossResult best = mw_loss<TypeParam>(problem_of_scores({1, -1, -1}, 1, temperature), options);
      const double least = std::log1p(std::exp(-2 / temperature));
      EXPECT_NEAR(best.value, least, 1e-4 * least + 1e-37);
      EXPECT_NEAR(best.document[1] * temperature, least / 2, 1e-4 * least + 1e-37);
    }
  }
}

TYPED_TEST(MwEdge, ExcludedColumnsDoNotMatter) {
  LossProblem problem = random_problem(1, 9, 4, 0.1, false);
  problem.positive = {{2, 5}};
  problem.excluded = {{0, 7}};
  LossProblem changed = problem;
  for (int j = 0; j < 4; ++j) changed.document[7 * 4 + j] = 3;
  for (const MwOptions& options : mw_forms()) {
    const LossResult before = mw_loss<TypeParam>(problem, with_tile(options, 4));
    const LossResult after = mw_loss<TypeParam>(changed, with_tile(options, 4));
    EXPECT_NEAR(before.value, after.value, 1e-9);
    EXPECT_LT(relative_difference(after.document, before.document), 1e-6);
    for (int j = 0; j < 4; ++j) EXPECT_EQ(after.document[7 * 4 + j], 0);
  }
}

TYPED_TEST(MwEdge, GivesNaNForNaN) {
  const LossProblem good = random_problem(5, 11, 3, 0.1, true);
  for (const MwOptions& form : mw_forms()) {
    for (const std::int64_t tile : {4, 64}) {
      const MwOptions options = with_tile(form, tile);
      std::vector<LossProblem> all = problems_with_nan(good);
      all.push_back(good);
      all.back().document[31] = std::numeric_limits<double>::infinity();
      for (const LossProblem& bad : all) {
        const LossResult result = mw_loss<TypeParam>(bad, options);
        EXPECT_FALSE(std::isfinite(result.value));
        EXPECT_FALSE(std::isfinite(result.log_temperature));
      }
      EXPECT_TRUE(std::isnan(distributed_mw_loss<TypeParam>(all[0], {2, 3}, options).value));
    }
  }
}

TYPED_TEST(MwEdge, ARankWithoutQueriesHasNoGradient) {
  const LossProblem problem = random_problem(4, 9, 3, 0.1, false);
  for (const MwOptions& options : mw_forms()) {
    loss_without_queries<TypeParam>(problem, with_options(make_mw<TypeParam>, options));
  }
}

/// Calls one loss on several problems in turn, a step each.
template <class T>
class Caller {
 public:
  explicit Caller(const MwOptions& options)
      : loss_(make_mw<T>(*backend_.ops, *backend_.score_ops, options)) {}

  double value(LossProblem problem) {
    problem.step = step_++;
    const LossResult result = compute_loss<T>(*loss_, problem, 0, problem.queries, backend_);
    if (std::isnan(result.value)) {
      for (const double x : result.query) EXPECT_TRUE(std::isnan(x));
      for (const double x : result.document) EXPECT_TRUE(std::isnan(x));
    }
    return result.value;
  }

 private:
  SelfCommunicator communicator_;
  Backend<T> backend_ = make_cpu_backend<T>(communicator_);
  std::unique_ptr<Loss<T>> loss_;
  std::int64_t step_ = 0;
};

TYPED_TEST(MwEdge, SaysWhenTheGridIsTooSmall) {
  const LossProblem fits = problem_of_scores({1, -1, 0.5}, 1, 0.1);
  const LossProblem large = problem_of_scores({1000, -1, 0.5}, 1, 0.1);
  Caller<TypeParam> caller({.grid_points = mw_grid_points(0.1)});
  EXPECT_TRUE(std::isfinite(caller.value(fits)));
  EXPECT_TRUE(std::isnan(caller.value(large)));
  try {
    caller.value(fits);
    FAIL() << "the grid was too small";
  } catch (const Error& error) {
    const std::string message = error.what();
    const std::string allowed = std::to_string(mw_grid_points(0.1));
    for (const std::string& part :
         {std::string("1000"), std::string("0.1"), std::string("512507"), allowed}) {
      EXPECT_NE(message.find(part), std::string::npos) << message << " lacks " << part;
    }
  }
  EXPECT_TRUE(std::isfinite(caller.value(fits)));
  // A NaN is not the grid's fault.
  EXPECT_TRUE(std::isnan(caller.value(problem_of_scores({kNaN, -1, 0.5}, 1, 0.1))));
  EXPECT_TRUE(std::isfinite(caller.value(fits)));
}

TYPED_TEST(MwEdge, TakesLargeScoresOnALargeGrid) {
  const MwOptions options{.grid_points = mw_grid_points(0.1, 1000)};
  const LossProblem problem = problem_of_scores({1000, -999, -500, 20, 20.3, 19.9, 500, -3}, 4, 0.1);
  const LossResult grid = mw_loss<TypeParam>(problem, options);
  const LossResult exact = mw_loss<TypeParam>(problem, {.exact = true});
  const double tolerance = std::is_same_v<TypeParam, float> ? 1e-5 : 1e-8;
  EXPECT_LT(relative_difference({grid.value}, {exact.value}), tolerance);
  EXPECT_LT(relative_difference({grid.log_temperature}, {exact.log_temperature}), tolerance);
  EXPECT_LT(relative_difference(grid.document, exact.document), tolerance);
}

TEST(MwCheck, CountsTheGridsPoints) {
  for (const double temperature : {0.001, 0.005, 0.05, 0.07, 1.0, 100.0}) {
    const double points = static_cast<double>(mw_grid_points(temperature));
    EXPECT_GE(points, 32 / temperature);
    EXPECT_LE(points, 66 / temperature + 10);
  }
  EXPECT_THROW(mw_grid_points(0.001, 1000), UsageError);
  EXPECT_THROW(mw_grid_points(0), UsageError);
}

TEST(MwCheck, RejectsWrongLists) {
  for (const MwOptions& options : mw_forms()) {
    EXPECT_NO_THROW(mw_loss<double>(problem_with_lists(), options));
    for (const LossProblem& bad : problems_with_wrong_lists()) {
      EXPECT_THROW(mw_loss<double>(bad, options), Error);
    }
  }
}

TEST(MwCheck, RejectsSizesOutOfRange) {
  const auto ops = make_cpu_ops<float>();
  const auto score_ops = make_cpu_score_ops<float>();
  EXPECT_THROW(make_mw<float>(*ops, *score_ops, {.tile_columns = -1}), UsageError);
  EXPECT_THROW(make_mw<float>(*ops, *score_ops, {.exact = true, .tile_rows = -1}), UsageError);
  EXPECT_THROW(make_mw<float>(*ops, *score_ops, {.grid_points = -1}), UsageError);
  EXPECT_THROW(make_mw<float>(*ops, *score_ops, {.grid_points = kMwMostGridPoints + 1}), UsageError);
}

}  // namespace
}  // namespace toller
