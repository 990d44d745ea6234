// The same loss and gradients for any division into ranks, number of threads and order of a list's documents.
#include <gtest/gtest.h>

#include <algorithm>

#include "loss/list_problem.h"
#include "loss/loss_resources.h"

namespace toller {
namespace {

template <class T>
class ListLossInvariance : public testing::Test {
 protected:
  static constexpr double kTolerance = std::is_same_v<T, float> ? 1e-6 : 1e-13;
};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(ListLossInvariance, Elements);

TYPED_TEST(ListLossInvariance, RanksDoNotMatter) {
  LossProblem problem = random_lists(60, 12, 0.05, mixed_length);
  problem.step = 3;
  for (const ListLossKind kind : list_loss_kinds()) {
    const LossResult alone = list_loss<TypeParam>(problem, {.kind = kind});
    EXPECT_NE(alone.value, 0);
    for (const std::vector<std::int64_t>& counts : std::vector<std::vector<std::int64_t>>{
             {60}, {59, 1}, {0, 60}, {20, 25, 15}, {30, 0, 30}, {15, 15, 15, 15}, {0, 30, 30, 0}}) {
      SCOPED_TRACE(list_loss_name(kind) + testing::PrintToString(counts));
      expect_equal(distributed_list_loss<TypeParam>(problem, counts, {.kind = kind}), alone,
                   this->kTolerance);
    }
  }
}

TYPED_TEST(ListLossInvariance, RepeatsItsBits) {
  const LossProblem problem = random_lists(40, 8, 0.05, mixed_length);
  for (const ListLossKind kind : list_loss_kinds()) {
    SCOPED_TRACE(list_loss_name(kind));
    const auto compute = [&] {
      return distributed_list_loss<TypeParam>(problem, {20, 12, 8}, {.kind = kind});
    };
    expect_same_bits(with_threads(3, compute), with_threads(1, compute));
  }
}

/// The problem with the documents of each list in reverse.
LossProblem reversed_lists(LossProblem problem) {
  const std::int64_t d = problem.dimension;
  for (std::int64_t i = 0; i < problem.queries; ++i) {
    const std::int64_t first = problem.own_offsets[i], last = problem.own_offsets[i + 1];
    std::reverse(problem.grade.begin() + first, problem.grade.begin() + last);
    std::reverse(problem.teacher.begin() + first, problem.teacher.begin() + last);
    for (std::int64_t a = first, b = last - 1; a < b; ++a, --b) {
      std::swap_ranges(problem.document.begin() + a * d, problem.document.begin() + (a + 1) * d,
                       problem.document.begin() + b * d);
    }
  }
  return problem;
}

// Of pg-rank only the expectation is so: noise belongs to places.
TYPED_TEST(ListLossInvariance, OrderInAListDoesNotMatter) {
  const LossProblem problem = random_lists(30, 8, 0.05, mixed_length);
  for (const ListLossKind kind : list_loss_kinds()) {
    if (kind == ListLossKind::kPgRank) continue;
    SCOPED_TRACE(list_loss_name(kind));
    const LossResult forward = list_loss<TypeParam>(problem, {.kind = kind});
    const LossResult backward = list_loss<TypeParam>(reversed_lists(problem), {.kind = kind});
    EXPECT_LT(relative_difference({backward.value}, {forward.value}), this->kTolerance);
    EXPECT_LT(relative_difference(backward.query, forward.query), this->kTolerance);
  }
}

}  // namespace
}  // namespace toller
