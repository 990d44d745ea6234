// Corners: nothing to compare, ties, extreme temperatures, values that are not numbers, lists that are wrong.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "error.h"
#include "loss/catalogue.h"
#include "loss/similarity_problem.h"

namespace toller {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

class SimilarityEdge : public testing::TestWithParam<SimilarityKind> {
 protected:
  LossResult loss(const LossProblem& problem) const {
    return similarity_loss<double>(problem, {.kind = GetParam()});
  }
};

TEST_P(SimilarityEdge, IsZeroWithoutTwoPairs) {
  expect_all_zero(loss(scored_pairs({0.5}, {2}, 0.005)));
  LossProblem none = scored_pairs({}, {});
  expect_all_zero(loss(none));
  none.candidates = 1;  // nobody's
  none.document = {0.5};
  expect_all_zero(loss(none));
}

TEST_P(SimilarityEdge, HoldsWhereGoldScoresAreEqual) {
  const LossResult result = loss(scored_pairs({0.5, 0.1, -0.3}, {2, 2, 2}, 0.1));
  if (GetParam() != SimilarityKind::kRankKl) return expect_all_zero(result);
  EXPECT_GT(result.value, 0);  // the scores should be equal too
  expect_all_zero(loss(scored_pairs({0.5, 0.5}, {2, 2}, 0.1)));
}

TEST_P(SimilarityEdge, HoldsAtExtremesAndTies) {
  const std::vector<float> gold = {0, 3, 3, 0, 1, 2};
  for (const double temperature : {1.0, 0.005}) {
    for (const auto& scores : std::vector<std::vector<double>>{
             {1, -1, -1, 1, -1, -1}, {-1, 1, 1, -1, 1, 1}, {0.5, 0.5, 0.5, 0.5, 0.5, 0.5}}) {
      const LossProblem problem = scored_pairs(scores, gold, temperature);
      expect_finite(loss(problem));
      expect_finite(similarity_loss<float>(problem, {.kind = GetParam()}));
    }
  }
  constexpr float kLargest = std::numeric_limits<float>::max();
  expect_finite(loss(scored_pairs({0.5, 0.4, 0.3}, {kLargest, -kLargest, 1})));
}

TEST_P(SimilarityEdge, RewardsTheRightOrder) {
  const LossResult right = loss(scored_pairs({0.9, 0.5, 0.1}, {3, 2, 1}, 0.1));
  const LossResult wrong = loss(scored_pairs({0.1, 0.5, 0.9}, {3, 2, 1}, 0.1));
  EXPECT_LT(right.value, wrong.value);
  EXPECT_LT(wrong.document[0], 0);  // should rise
  EXPECT_GT(wrong.document[2], 0);
}

TEST_P(SimilarityEdge, GivesNaNForWhatIsNoNumber) {
  const LossProblem good = random_pairs(12, 3, 0.1);
  const std::vector<LossProblem> with_nan = problems_with_nan(good);
  EXPECT_TRUE(std::isnan(loss(with_nan[0]).value));
  EXPECT_TRUE(std::isnan(loss(with_nan[1]).value));
  EXPECT_EQ(std::isnan(loss(with_nan[2]).value), GetParam() != SimilarityKind::kPearson);
  LossProblem infinite = good, of_nobody = good;
  infinite.document[2 * 3] = kInfinity;
  EXPECT_TRUE(std::isnan(loss(infinite).value));
  EXPECT_TRUE(std::isnan(loss(scored_pairs({0.5, kNaN}, {2, 2})).value));  // nothing to compare
  of_nobody.document.back() = kNaN;
  expect_same_bits(loss(of_nobody), loss(good));
}

TEST_P(SimilarityEdge, TakesOnlyPairsWithGoldScores) {
  const LossProblem good = scored_pairs({0.5, 0.1}, {0, 1});
  EXPECT_NO_THROW(loss(good));
  for (const auto& offsets :
       std::vector<std::vector<std::int64_t>>{{}, {0, 1, 3}, {0, 0, 1}, {-1, 0, 1}, {1, 2, 3}}) {
    SCOPED_TRACE(testing::PrintToString(offsets));
    LossProblem wrong = good;
    wrong.own_offsets = offsets;
    wrong.teacher = {};
    const auto compute = [&] { return loss(wrong); };
    EXPECT_THROW(compute(), Error);
  }
  LossProblem without_gold = good, nowhere = good;
  without_gold.teacher.clear();
  EXPECT_THROW(loss(without_gold), Error);
  nowhere.first_query = 1;
  EXPECT_THROW(loss(nowhere), Error);
  for (const double wrong : {kNaN, kInfinity, -kInfinity}) {
    LossProblem no_number = good;
    no_number.teacher[1] = static_cast<float>(wrong);
    EXPECT_THROW(loss(no_number), Error);
  }
}

TEST_P(SimilarityEdge, IsKnownByItsName) {
  const std::string name = similarity_name(GetParam());
  EXPECT_EQ(loss_description(name).data, LossData::kScoredPairs);
  const std::vector<LossTerm> terms = {parse_loss_term(name)};
  const auto by_name = [&](Ops<double>& ops, ScoreOps<double>& score_ops) {
    return make_loss<double>(terms, {}, ops, score_ops);
  };
  const LossProblem problem = random_pairs(7, 3, 0.1);
  expect_same_bits(loss_of<double>(problem, by_name), loss(problem));
}

INSTANTIATE_TEST_SUITE_P(Kinds, SimilarityEdge, testing::ValuesIn(similarity_kinds()), similarity_test_name);

TEST(SimilarityByHand, PearsonOfEqualScoresIsOneWithoutGradient) {
  const LossResult result =
      similarity_loss<double>(scored_pairs({0.1, 0.1, 0.1}, {1, 2, 4}), {.kind = SimilarityKind::kPearson});
  EXPECT_EQ(result.value, 1);
  for (const double x : result.document) EXPECT_EQ(x, 0);
}

TEST(SimilarityByHand, PearsonOfScoresOnALineIsZero) {
  const LossResult result =
      similarity_loss<double>(scored_pairs({0.25, 0.5, 0.75}, {1, 3, 5}), {.kind = SimilarityKind::kPearson});
  EXPECT_NEAR(result.value, 0, 1e-15);
  for (const double x : result.document) EXPECT_NEAR(x, 0, 1e-15);
}

TEST(SimilarityByHand, RankKlIsZeroWhereScoresAreTheRanks) {
  const LossResult result = similarity_loss<double>(
      scored_pairs({0.5, -0.25, -0.25, -0.5}, {9, 2, 2, 0}, 0.1), {.kind = SimilarityKind::kRankKl});
  EXPECT_GT(result.value, 0);
  // Ranks 0, 1.5, 1.5, 3 of four: u = 1, 0.5, 0.5, 0. A shift of all scores does not matter.
  const LossResult ideal = similarity_loss<double>(scored_pairs({0.5, 0, 0, -0.5}, {9, 2, 2, 0}, 0.1),
                                                   {.kind = SimilarityKind::kRankKl});
  EXPECT_NEAR(ideal.value, 0, 1e-15);
  for (const double x : ideal.document) EXPECT_NEAR(x, 0, 1e-14);
}

TEST(SimilarityByHand, OfTwoPairsAllButPearsonAreSoftplus) {
  const LossProblem problem = scored_pairs({0.25, 0.5}, {3, 1}, 0.5);  // z = ±0.5, w = 2
  const LossResult cosent = similarity_loss<double>(problem, {.kind = SimilarityKind::kCosent});
  EXPECT_NEAR(cosent.value, std::log1p(std::exp(0.5)), 1e-15);
  EXPECT_NEAR(cosent.document[1], 2 / (1 + std::exp(-0.5)), 1e-15);
  EXPECT_NEAR(cosent.document[0], -2 / (1 + std::exp(-0.5)), 1e-15);
  const LossResult pro = similarity_loss<double>(problem, {.kind = SimilarityKind::kPro});
  EXPECT_NEAR(pro.value, std::log1p(std::exp(1.0)), 1e-15);
  EXPECT_NEAR(pro.document[1], 4 / (1 + std::exp(-1.0)), 1e-15);
}

TEST(SimilarityByHand, ProSkipsWhatLiesWithinTheGap) {
  const LossProblem problem = scored_pairs({0.25, 0.5, 0.125}, {3, 2.5, 1}, 0.5);
  const SimilarityOptions wide{.kind = SimilarityKind::kPro, .gap = 2},
      none{.kind = SimilarityKind::kPro, .gap = 1.5};
  expect_all_zero(similarity_loss<double>(problem, wide));  // a difference of 2 is not above 2
  const LossResult one = similarity_loss<double>(problem, none);
  EXPECT_NEAR(one.value, std::log1p(std::exp(-0.5)), 1e-15);
  EXPECT_EQ(one.document[1], 0);
}

// Exact in relative terms where all is well: all e^{(x_j − x_i)/τ} are small. The exponent, 64, is wrong by
// some 10⁻¹⁴, since 1/τ comes from log τ.
TEST(SimilarityByHand, SmallValuesKeepTheirDigits) {
  const LossProblem problem = scored_pairs({0.5, -0.5}, {1, 0}, 1.0 / 64);
  const LossResult cosent = similarity_loss<double>(problem, {.kind = SimilarityKind::kCosent});
  EXPECT_NEAR(cosent.value / std::exp(-64.0), 1, 1e-13);
  EXPECT_NEAR(cosent.document[1] / (64 * std::exp(-64.0)), 1, 1e-13);
  const LossResult pro = similarity_loss<double>(problem, {.kind = SimilarityKind::kPro});
  EXPECT_NEAR(pro.value / std::exp(-64.0), 1, 1e-13);
  EXPECT_NEAR(pro.document[0] / (-64 * std::exp(-64.0)), 1, 1e-13);
}

TEST(SimilarityByHand, LargeExponentsDoNotOverflow) {
  const LossProblem problem = scored_pairs({-1, -0.875}, {1, 0}, 1.0 / 8192);  // z = 1,024
  for (const SimilarityKind kind : {SimilarityKind::kPro, SimilarityKind::kCosent}) {
    const LossResult result = similarity_loss<double>(problem, {.kind = kind});
    EXPECT_NEAR(result.value, 1024, 1e-10);
    EXPECT_NEAR(result.document[1], 8192, 1e-8);
    EXPECT_NEAR(result.log_temperature, -1024, 1e-8);
  }
}

TEST(SimilarityOptionsCheck, RejectsAGapThatIsOutOfRange) {
  const auto ops = make_cpu_ops<float>();
  const auto score_ops = make_cpu_score_ops<float>();
  for (const double gap : {-0.1, kNaN, kInfinity}) {
    EXPECT_THROW(make_similarity_loss<float>(*ops, *score_ops, {.gap = gap}), UsageError);
  }
}

}  // namespace
}  // namespace toller
