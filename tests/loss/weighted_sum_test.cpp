// A weighted sum is the sum of its terms, on any ranks, and asks for the memory that it takes.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "error.h"
#include "loss/infonce_problem.h"
#include "loss/list_problem.h"

namespace toller {
namespace {

template <class T>
std::unique_ptr<Loss<T>> make_sum(Ops<T>& ops, ScoreOps<T>& score_ops) {
  std::vector<WeightedLoss<T>> terms;
  terms.push_back({make_infonce<T>(ops, score_ops, {}), 0.5});
  terms.push_back({make_list_loss<T>(ops, score_ops, {.kind = ListLossKind::kRankNet}), 2});
  terms.push_back({make_list_loss<T>(ops, score_ops, {.kind = ListLossKind::kListNet}), -0.25});
  return make_weighted_sum<T>(ops, score_ops, std::move(terms));
}

/// Every query has a document, so that InfoNCE has a positive for it.
LossProblem problem_for_all() {
  return random_lists(24, 6, 0.1, [](std::int64_t i) { return 1 + mixed_length(i); });
}

template <class T>
class WeightedSumOfLosses : public testing::Test {};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(WeightedSumOfLosses, Elements);

TYPED_TEST(WeightedSumOfLosses, IsTheSumOfItsTerms) {
  const double tolerance = std::is_same_v<TypeParam, float> ? 1e-6 : 1e-14;
  const LossProblem problem = problem_for_all();
  const LossResult parts[] = {infonce_loss<TypeParam>(problem),
                              list_loss<TypeParam>(problem, {.kind = ListLossKind::kRankNet}),
                              list_loss<TypeParam>(problem, {.kind = ListLossKind::kListNet})};
  const double weights[] = {0.5, 2, -0.25};
  LossResult expected{.value = 0,
                      .log_temperature = 0,
                      .query = std::vector(parts[0].query.size(), 0.0),
                      .document = std::vector(parts[0].document.size(), 0.0)};
  for (int t = 0; t < 3; ++t) {
    expected.value += weights[t] * parts[t].value;
    expected.log_temperature += weights[t] * parts[t].log_temperature;
    for (std::size_t i = 0; i < expected.query.size(); ++i) {
      expected.query[i] += weights[t] * parts[t].query[i];
    }
    for (std::size_t i = 0; i < expected.document.size(); ++i) {
      expected.document[i] += weights[t] * parts[t].document[i];
    }
  }
  for (const std::vector<std::int64_t>& counts :
       std::vector<std::vector<std::int64_t>>{{24}, {10, 14}, {8, 0, 16}}) {
    const LossResult sum = distributed_loss_of<TypeParam>(problem, make_sum<TypeParam>, counts);
    expect_equal(sum, expected, 10 * tolerance);
  }
}

TEST(WeightedSumMemory, IsThatOfAllTermsAndOneSetOfGradients) {
  const auto ops = make_cpu_ops<float>();
  const auto score_ops = make_cpu_score_ops<float>();
  const LossSize size{.queries = 24, .candidates = 150, .positives = 24, .own = 150, .dimension = 6};
  const auto bytes = [&](const Loss<float>& loss) {
    Arena arena;
    loss.take_memory(size, arena);
    return arena.peak();
  };
  const std::size_t terms = bytes(*make_infonce<float>(*ops, *score_ops, {})) +
                            2 * bytes(*make_list_loss<float>(*ops, *score_ops, {}));
  const std::size_t gradients = (24 + 150) * 6 * sizeof(float);
  const std::size_t sum = bytes(*make_sum<float>(*ops, *score_ops));
  EXPECT_GE(sum, terms + gradients);
  EXPECT_LE(sum, terms + gradients + 4 * 256);  // rounded up
}

TEST(WeightedSumCheck, RejectsNoTermsAndWrongWeights) {
  const auto ops = make_cpu_ops<float>();
  const auto score_ops = make_cpu_score_ops<float>();
  EXPECT_THROW(make_weighted_sum<float>(*ops, *score_ops, {}), UsageError);
  for (const double weight : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    std::vector<WeightedLoss<float>> terms;
    terms.push_back({make_list_loss<float>(*ops, *score_ops, {}), weight});
    EXPECT_THROW(make_weighted_sum<float>(*ops, *score_ops, std::move(terms)), UsageError);
  }
}

}  // namespace
}  // namespace toller
