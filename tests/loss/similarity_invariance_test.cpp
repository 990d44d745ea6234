// The same loss and gradients for any division into ranks, number of threads and order of the pairs, and for
// gold scores on other scales; memory that does not grow with the square of the pairs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "loss/loss_resources.h"
#include "loss/similarity_problem.h"

namespace toller {
namespace {

template <class T>
class SimilarityInvariance : public testing::Test {
 protected:
  static LossResult distributed(const LossProblem& problem, const std::vector<std::int64_t>& counts,
                                SimilarityKind kind) {
    return distributed_loss_of<T>(problem, with_options(make_similarity_loss<T>, {.kind = kind}), counts);
  }
  static constexpr double kTolerance = std::is_same_v<T, float> ? 1e-6 : 1e-12;
};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(SimilarityInvariance, Elements);

// Only the derivative by log τ is added up in another order: all else has the same bits.
TYPED_TEST(SimilarityInvariance, RanksDoNotMatter) {
  const LossProblem problem = random_pairs(60, 12, 0.05);
  for (const SimilarityKind kind : similarity_kinds()) {
    const LossResult alone = similarity_loss<TypeParam>(problem, {.kind = kind});
    EXPECT_GT(alone.value, 0);
    for (const std::vector<std::int64_t>& counts : std::vector<std::vector<std::int64_t>>{
             {60}, {59, 1}, {0, 60}, {20, 25, 15}, {30, 0, 30}, {15, 15, 15, 15}, {0, 30, 30, 0}}) {
      SCOPED_TRACE(similarity_name(kind) + testing::PrintToString(counts));
      LossResult divided = this->distributed(problem, counts, kind);
      EXPECT_LT(relative_difference({divided.log_temperature}, {alone.log_temperature}), 1e-12);
      divided.log_temperature = alone.log_temperature;
      expect_same_bits(divided, alone);
    }
  }
}

TYPED_TEST(SimilarityInvariance, RepeatsItsBits) {
  const LossProblem problem = random_pairs(90, 8, 0.05);
  for (const SimilarityKind kind : similarity_kinds()) {
    SCOPED_TRACE(similarity_name(kind));
    const auto compute = [&] { return this->distributed(problem, {50, 28, 12}, kind); };
    expect_same_bits(with_threads(3, compute), with_threads(1, compute));
  }
}

TYPED_TEST(SimilarityInvariance, RanksWithoutPairsHaveNoGradient) {
  const LossProblem problem = random_pairs(12, 4, 0.1);
  for (const SimilarityKind kind : similarity_kinds()) {
    const LossResult empty = loss_without_queries<TypeParam>(
        problem, with_options(make_similarity_loss<TypeParam>, {.kind = kind}));
    EXPECT_EQ(empty.log_temperature, 0);
  }
}

/// The pairs from last to first.
LossProblem reversed(LossProblem problem) {
  const std::int64_t d = problem.dimension, pairs = problem.queries;
  std::reverse(problem.teacher.begin(), problem.teacher.end());
  for (std::vector<double>* rows : {&problem.query, &problem.document}) {
    for (std::int64_t a = 0, b = pairs - 1; a < b; ++a, --b) {
      std::swap_ranges(rows->begin() + a * d, rows->begin() + (a + 1) * d, rows->begin() + b * d);
    }
  }
  return problem;
}

TYPED_TEST(SimilarityInvariance, OrderDoesNotMatter) {
  const LossProblem problem = random_pairs(30, 8, 0.05);
  for (const SimilarityKind kind : similarity_kinds()) {
    SCOPED_TRACE(similarity_name(kind));
    const LossResult forward = similarity_loss<TypeParam>(problem, {.kind = kind});
    const LossResult backward = similarity_loss<TypeParam>(reversed(problem), {.kind = kind});
    LossProblem gradients = problem;
    gradients.query = backward.query;
    gradients.document = backward.document;
    gradients = reversed(gradients);
    expect_equal({backward.value, backward.log_temperature, gradients.query, gradients.document}, forward,
                 this->kTolerance);
  }
}

template <class Map>
LossProblem with_mapped_gold(LossProblem problem, const Map& map) {
  for (float& gold : problem.teacher) gold = map(gold);
  return problem;
}

TYPED_TEST(SimilarityInvariance, PearsonTakesGoldScoresOnAnyScale) {
  const LossProblem problem = random_pairs(40, 8, 0.05);
  const SimilarityOptions options{.kind = SimilarityKind::kPearson};
  const auto scaled = with_mapped_gold(problem, [](float gold) { return 3 * gold - 7; });
  expect_equal(similarity_loss<TypeParam>(scaled, options), similarity_loss<TypeParam>(problem, options),
               this->kTolerance);
}

TYPED_TEST(SimilarityInvariance, RankKlAndCosentTakeTheOrderOfGoldScoresAlone) {
  const LossProblem problem = random_pairs(40, 8, 0.05);
  const auto bent = with_mapped_gold(problem, [](float gold) { return std::exp(gold) - 2; });
  for (const SimilarityKind kind : {SimilarityKind::kRankKl, SimilarityKind::kCosent}) {
    SCOPED_TRACE(similarity_name(kind));
    expect_same_bits(similarity_loss<TypeParam>(bent, {.kind = kind}),
                     similarity_loss<TypeParam>(problem, {.kind = kind}));
  }
}

// w/τ stays: gold scores and τ twice as large.
TYPED_TEST(SimilarityInvariance, ProTakesGoldScoresInUnitsOfTheTemperature) {
  LossProblem problem = random_pairs(40, 8, 0.05);
  const LossResult before = similarity_loss<TypeParam>(problem, {.kind = SimilarityKind::kPro, .gap = 0.5});
  problem = with_mapped_gold(problem, [](float gold) { return 2 * gold + 1; });
  problem.log_temperature += std::log(2);
  expect_equal(similarity_loss<TypeParam>(problem, {.kind = SimilarityKind::kPro, .gap = 1}), before,
               this->kTolerance);
}

TEST(SimilarityMemory, DoesNotHoldThePairsOfPairs) {
  const LossProblem problem = random_pairs(1 << 12, 2, 0.1);  // 128 MiB in double
  for (const SimilarityKind kind : similarity_kinds()) {
    expect_less_memory(8 * 1024, [&] { return similarity_loss<float>(problem, {.kind = kind}); });
  }
}

TEST(SimilarityMemory, IsWhatTakeMemoryAsksFor) {
  const LossProblem problem = random_pairs(700, 3, 0.1);
  SelfCommunicator self;
  const auto backend = make_cpu_backend<float>(self);
  Arena arena;
  make_similarity_loss<float>(*backend.ops, *backend.score_ops, {})
      ->take_memory({.queries = 700, .candidates = 701, .global_queries = 2800}, arena);
  const std::size_t numbers = (3 * 2800 + 2 * 700) * sizeof(double);
  EXPECT_GE(arena.peak(), numbers);
  EXPECT_LE(arena.peak(), numbers + 6 * 256);  // rounded up
}

}  // namespace
}  // namespace toller
