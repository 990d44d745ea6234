// Losses of pairs with in-batch negatives: values and gradients, any ranks and tiles, corners.
#include <gtest/gtest.h>

#include <limits>

#include "error.h"
#include "loss/loss_fixture.h"
#include "loss/loss_resources.h"
#include "loss/pair_problem.h"

namespace toller {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

PairLossOptions options_of(const nlohmann::json& given) {
  PairLossOptions options{.scale = given["scale"],
                          .margin = given["margin"],
                          .query_weight = given["query_weight"],
                          .document_weight = given["document_weight"],
                          .tile_rows = 3,
                          .tile_columns = 4};
  if (given["kind"] == "bpr") options.kind = PairLossKind::kBpr;
  if (given["kind"] == "reverse-bpr") options.kind = PairLossKind::kReverseBpr;
  if (given["negatives"] == "hardest") options.negatives = HingeNegatives::kHardest;
  if (given["negatives"] == "semi-hard") options.negatives = HingeNegatives::kSemiHard;
  return options;
}

template <class T>
void expect_reference(double tolerance) {
  for_each_case("pair_loss.json", 10, [&](const nlohmann::json& given) {
    expect_equal(pair_loss<T>(problem_of(given), options_of(given)), result_of(given), tolerance);
  });
}

TEST(PairLossReference, AgreesInDouble) {
  expect_reference<double>(1e-12);
}

TEST(PairLossReference, AgreesInFloat) {
  expect_reference<float>(2e-5);
}

TEST(PairLossGradient, AgreesWithCentralDifferences) {
  const LossProblem problem = problem_with_own_documents(8, 5);
  for (const PairLossOptions& options : pair_losses()) {
    SCOPED_TRACE(name_of(options));
    const auto value = [&](const LossProblem& given) { return pair_loss<double>(given, options).value; };
    // Steps that cross no kink and change no choice.
    expect_central_differences(problem, value, pair_loss<double>(problem, options), 1e-5, 1e-7);
  }
}

template <class T>
class PairLosses : public testing::Test {
 protected:
  static constexpr double kTolerance = std::is_same_v<T, float> ? 1e-5 : 1e-12;
};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(PairLosses, Elements);

TYPED_TEST(PairLosses, TilesDoNotMatter) {
  const LossProblem problem = problem_with_own_documents(150, 12);
  for (const PairLossOptions& options : pair_losses()) {
    SCOPED_TRACE(name_of(options));
    const LossResult whole = pair_loss<TypeParam>(problem, options);
    for (const auto& [rows, columns] : {std::pair{150, 1}, {7, 16}, {64, 65}, {1, 500}}) {
      SCOPED_TRACE(testing::Message() << rows << " × " << columns);
      expect_equal(pair_loss<TypeParam>(problem, with_tile(options, rows, columns)), whole, this->kTolerance);
    }
  }
}

TYPED_TEST(PairLosses, RanksDoNotMatter) {
  const LossProblem problem = problem_with_own_documents(61, 12);
  for (const PairLossOptions& options : pair_losses()) {
    SCOPED_TRACE(name_of(options));
    const LossResult alone = pair_loss<TypeParam>(problem, options);
    for (const std::vector<std::int64_t>& counts : std::vector<std::vector<std::int64_t>>{
             {61}, {60, 1}, {0, 61}, {20, 21, 20}, {30, 0, 31}, {16, 15, 15, 15}}) {
      SCOPED_TRACE(testing::PrintToString(counts));
      expect_equal(distributed_pair_loss<TypeParam>(problem, with_tile(options, 9, 50), counts), alone,
                   this->kTolerance);
    }
  }
}

TYPED_TEST(PairLosses, RepeatsItsBits) {
  const LossProblem problem = problem_with_own_documents(120, 8);
  for (const PairLossOptions& options : pair_losses()) {
    SCOPED_TRACE(name_of(options));
    expect_same_bits(distributed_pair_loss<TypeParam>(problem, options, {50, 25, 45}),
                     distributed_pair_loss<TypeParam>(problem, options, {50, 25, 45}));
    expect_threads_do_not_matter([&] { return pair_loss<TypeParam>(problem, options); }, this->kTolerance);
  }
}

TYPED_TEST(PairLosses, AreZeroWithoutNegatives) {
  for (const PairLossOptions& options : pair_losses()) {
    for (const LossProblem& problem : problems_without_negatives()) {
      expect_all_zero(pair_loss<TypeParam>(problem, with_tile(options, 1, 2)));
    }
  }
}

/// Query 0 (vector 1) and query 1 (vector −1) with documents 0 and 1.
LossProblem two_queries(double first, double second) {
  return {2, 2, 1, 0, {1, -1}, {first, second}, {{0}, {1}}, {{}, {}}};
}

TYPED_TEST(PairLosses, MatchTwoQueriesByHand) {
  // Scores: 0.5 (positive) and 0.4; −0.5 and −0.4 (positive). Query → document: excess 0.2 − 0.5 + 0.4 and
  // 0.2 + 0.4 − 0.5. Document → query: 0.2 − 0.5 − 0.5 < 0 and 0.2 + 0.4 + 0.4.
  const LossProblem problem = two_queries(0.5, 0.4);
  for (const HingeNegatives negatives :
       {HingeNegatives::kAll, HingeNegatives::kHardest, HingeNegatives::kSemiHard}) {
    const LossResult result =
        pair_loss<TypeParam>(problem, {.negatives = negatives, .query_weight = 1, .document_weight = 3});
    EXPECT_NEAR(result.value, (0.1 + 0.1 + 3 * 1.0) / 2, 1e-6);
    // ∂/∂s: −1, 1 of query 0; 1 + 0 and −1 − 3 of query 1; 3 for the score of query 0 with document 1.
    EXPECT_NEAR(result.document[0], (-1 - 1) / 2.0, 1e-6);
    EXPECT_NEAR(result.document[1], (1 + 3 + 1 + 3) / 2.0, 1e-6);
    EXPECT_NEAR(result.query[0], (-0.5 + 4 * 0.4) / 2, 1e-6);
    EXPECT_NEAR(result.query[1], (0.5 - 4 * 0.4) / 2, 1e-6);
    EXPECT_EQ(result.log_temperature, 0);
  }
  // Differences of 0.1 in both queries.
  const auto value_of = [&](PairLossKind kind) {
    return pair_loss<TypeParam>(problem, {.kind = kind, .scale = 2}).value;
  };
  EXPECT_NEAR(value_of(PairLossKind::kBpr), std::log1p(std::exp(-0.2)), 1e-6);
  EXPECT_NEAR(value_of(PairLossKind::kReverseBpr), std::log1p(std::exp(0.2)), 1e-6);
}

TYPED_TEST(PairLosses, ReverseBprIsBprWithTheSignReversed) {
  LossProblem problem = problem_with_own_documents(1, 4);
  problem.candidates = 2;
  problem.document = {1, 0, 0, 0, 0.6, 0.8, 0, 0};
  problem.query = {1, 0, 0, 0};
  const auto of = [&](PairLossKind kind) {
    return pair_loss<TypeParam>(problem, {.kind = kind, .scale = 5});
  };
  EXPECT_NEAR(of(PairLossKind::kBpr).value, std::log1p(std::exp(-2.0)), 1e-6);
  EXPECT_NEAR(of(PairLossKind::kReverseBpr).value, std::log1p(std::exp(2.0)), 1e-6);
  EXPECT_LT(of(PairLossKind::kBpr).document[0], 0) << "a relevant document comes nearer";
  EXPECT_GT(of(PairLossKind::kReverseBpr).document[0], 0) << "one to be forgotten goes away";
}

TYPED_TEST(PairLosses, OfEqualScoresTheFirstIsChosen) {
  // One query with score 0.5 of its positive and three equal negatives at a score above and below it.
  for (const double negative : {0.75, 0.25}) {
    const LossProblem problem{1, 4, 1, 0, {1}, {negative, 0.5, negative, negative}, {{1}}, {{}}};
    for (const HingeNegatives negatives : {HingeNegatives::kHardest, HingeNegatives::kSemiHard}) {
      for (const std::int64_t tile : {1, 4}) {
        const LossResult result = pair_loss<TypeParam>(
            problem, {.margin = 0.5, .negatives = negatives, .document_weight = 0, .tile_columns = tile});
        EXPECT_NEAR(result.value, 0.5 - 0.5 + negative, 1e-6);
        EXPECT_EQ(result.document, (std::vector<double>{1, -1, 0, 0}));
      }
    }
  }
}

TYPED_TEST(PairLosses, OfEqualQueriesTheFirstIsChosenOnAnyRank) {
  // Document 0 of query 0 has score 0.5 with all queries; the others' documents are far away.
  const LossProblem problem{
      4, 4, 1, 0, {1, 1, 1, 1}, {0.5, -1, -1, -1}, {{0}, {1}, {2}, {3}}, {{}, {}, {}, {}}};
  for (const std::vector<std::int64_t>& counts :
       std::vector<std::vector<std::int64_t>>{{4}, {1, 3}, {2, 2}, {1, 1, 1, 1}}) {
    const LossResult result = distributed_pair_loss<TypeParam>(
        problem, {.margin = 0.25, .negatives = HingeNegatives::kHardest, .query_weight = 0}, counts);
    // Pairs: (0, 0) with query 1, and (1, 1), (2, 2), (3, 3) with query 0: excess 0.25 each.
    EXPECT_NEAR(result.value, 0.25, 1e-6);
    EXPECT_NEAR(result.query[0], (-0.5 - 1 - 1 - 1) / 4, 1e-6);
    EXPECT_NEAR(result.query[1], (0.5 + 1) / 4, 1e-6);
    EXPECT_NEAR(result.query[2], 1.0 / 4, 1e-6);
  }
}

TYPED_TEST(PairLosses, AHingeThatIsNotReachedHasNoGradient) {
  // Scores ±1.
  for (PairLossOptions options : pair_losses()) {
    if (options.kind != PairLossKind::kHinge) continue;
    options.margin = 2;  // at the kink
    expect_all_zero(pair_loss<TypeParam>(two_queries(1, -1), options));
  }
}

TYPED_TEST(PairLosses, HoldAtTheEndsOfTheScores) {
  // Positives at −1, negatives at 1, scale 200 (a temperature of 0.005).
  const PairLossOptions bpr{.kind = PairLossKind::kBpr, .scale = 200};
  EXPECT_NEAR(pair_loss<TypeParam>(two_queries(-1, 1), bpr).value, 400, 1e-3);
  const LossResult best = pair_loss<TypeParam>(two_queries(1, -1), bpr);
  expect_finite(best);
  EXPECT_NEAR(best.value, 0, 1e-30);
  const PairLossOptions reverse{.kind = PairLossKind::kReverseBpr, .scale = 200};
  EXPECT_NEAR(pair_loss<TypeParam>(two_queries(1, -1), reverse).value, 400, 1e-3);
}

TYPED_TEST(PairLosses, ExcludedColumnsDoNotMatter) {
  LossProblem problem = random_problem(1, 9, 4, 0.1, false);
  problem.positive = {{2, 5}};
  problem.excluded = {{0, 7}};
  LossProblem changed = problem;
  for (int j = 0; j < 4; ++j) changed.document[7 * 4 + j] = 3;
  for (const PairLossOptions& options : pair_losses()) {
    SCOPED_TRACE(name_of(options));
    const LossResult before = pair_loss<TypeParam>(problem, with_tile(options, 1, 4));
    const LossResult after = pair_loss<TypeParam>(changed, with_tile(options, 1, 4));
    EXPECT_EQ(before.value, after.value);
    EXPECT_EQ(before.document, after.document);
    for (int j = 0; j < 4; ++j) EXPECT_EQ(after.document[7 * 4 + j], 0);
  }
}

TYPED_TEST(PairLosses, GiveNaNForNaN) {
  const LossProblem good = problem_with_own_documents(6, 3);
  for (const PairLossOptions& options : pair_losses()) {
    SCOPED_TRACE(name_of(options));
    for (const std::int64_t tile : {4, 64}) {
      LossProblem query = good, document = good;
      query.query[7] = kNaN;
      document.document[7] = kNaN;
      EXPECT_TRUE(std::isnan(pair_loss<TypeParam>(query, with_tile(options, 2, tile)).value));
      EXPECT_TRUE(std::isnan(pair_loss<TypeParam>(document, with_tile(options, 2, tile)).value));
      EXPECT_TRUE(std::isnan(distributed_pair_loss<TypeParam>(query, options, {2, 4}).value));
    }
  }
}

TYPED_TEST(PairLosses, ARankWithoutQueriesHasNoGradient) {
  for (const PairLossOptions& options : pair_losses()) {
    loss_without_queries<TypeParam>(problem_with_own_documents(5, 3),
                                    with_options(make_pair_loss<TypeParam>, options));
  }
}

TEST(PairLossMemory, DoesNotHoldTheScores) {
  const LossProblem problem = problem_with_own_documents(2048, 2);  // 40 MiB of scores in fp32
  for (const PairLossOptions& options : pair_losses()) {
    SCOPED_TRACE(name_of(options));
    expect_less_memory(8 * 1024, [&] { return pair_loss<float>(problem, with_tile(options, 256, 512)); });
  }
}

TEST(PairLossCheck, RejectsWrongLists) {
  for (const PairLossOptions& options : pair_losses()) {
    EXPECT_NO_THROW(pair_loss<double>(problem_with_lists(), options));
    for (const LossProblem& bad : problems_with_wrong_lists()) {
      EXPECT_THROW(pair_loss<double>(bad, options), Error);
    }
  }
}

TEST(PairLossCheck, AColumnIsThePositiveOfOneQuery) {
  LossProblem problem = problem_with_lists();
  problem.positive = {{1}, {1}};
  EXPECT_THROW(pair_loss<double>(problem, {}), Error);
  EXPECT_TRUE(std::isnan(distributed_pair_loss<double>(problem, {}, {1, 1}).value));
  EXPECT_NO_THROW(pair_loss<double>(problem, {.document_weight = 0}));
  EXPECT_NO_THROW(pair_loss<double>(problem, {.kind = PairLossKind::kBpr}));
}

TEST(PairLossCheck, RejectsOptionsOutOfRange) {
  const LossProblem problem = problem_with_lists();
  for (const PairLossOptions& bad : std::vector<PairLossOptions>{{.scale = 0},
                                                                 {.scale = kNaN},
                                                                 {.margin = -1},
                                                                 {.margin = INFINITY},
                                                                 {.query_weight = -1},
                                                                 {.document_weight = kNaN},
                                                                 {.tile_columns = -1}}) {
    EXPECT_THROW(pair_loss<float>(problem, bad), UsageError);
  }
}

}  // namespace
}  // namespace toller
