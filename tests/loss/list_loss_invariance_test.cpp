// The same loss and gradients for any division into ranks, number of threads and order of a list's documents.
#include <gtest/gtest.h>
#include <omp.h>

#include <numeric>

#include "loss/list_problem.h"

namespace toller {
namespace {

void expect_equal(const LossResult& actual, const LossResult& expected, double tolerance) {
  EXPECT_LT(relative_difference({actual.value}, {expected.value}), tolerance);
  EXPECT_LT(relative_difference(actual.query, expected.query), tolerance);
  EXPECT_LT(relative_difference(actual.document, expected.document), tolerance);
  EXPECT_LT(relative_difference({actual.log_temperature}, {expected.log_temperature}), tolerance);
}

void expect_same_bits(const LossResult& actual, const LossResult& expected) {
  EXPECT_EQ(actual.value, expected.value);
  EXPECT_EQ(actual.query, expected.query);
  EXPECT_EQ(actual.document, expected.document);
  EXPECT_EQ(actual.log_temperature, expected.log_temperature);
}

template <class T>
class ListLossInvariance : public testing::Test {
 protected:
  static constexpr double kTolerance = std::is_same_v<T, float> ? 1e-6 : 1e-13;
};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(ListLossInvariance, Elements);

TYPED_TEST(ListLossInvariance, RanksDoNotMatter) {
  ListProblem problem = random_lists(60, 12, 0.05, mixed_length);
  problem.step = 3;
  for (const ListLossKind kind : list_loss_kinds()) {
    const auto factory = list_loss_factory<TypeParam>({.kind = kind});
    const LossResult alone = single_rank_list_loss<TypeParam>(problem, factory);
    EXPECT_NE(alone.value, 0);
    for (const std::vector<std::int64_t>& counts : std::vector<std::vector<std::int64_t>>{
             {60}, {59, 1}, {0, 60}, {20, 25, 15}, {30, 0, 30}, {15, 15, 15, 15}, {0, 30, 30, 0}}) {
      SCOPED_TRACE(list_loss_name(kind) + testing::PrintToString(counts));
      expect_equal(distributed_list_loss<TypeParam>(problem, factory, counts), alone, this->kTolerance);
    }
  }
}

TYPED_TEST(ListLossInvariance, RepeatsItsBits) {
  const ListProblem problem = random_lists(40, 8, 0.05, mixed_length);
  const int threads = omp_get_max_threads();
  for (const ListLossKind kind : list_loss_kinds()) {
    SCOPED_TRACE(list_loss_name(kind));
    const auto factory = list_loss_factory<TypeParam>({.kind = kind});
    omp_set_num_threads(1);
    const LossResult once = distributed_list_loss<TypeParam>(problem, factory, {20, 12, 8});
    omp_set_num_threads(3);
    const LossResult again = distributed_list_loss<TypeParam>(problem, factory, {20, 12, 8});
    omp_set_num_threads(threads);
    expect_same_bits(again, once);
  }
}

/// The problem with the documents of each list in reverse.
ListProblem reversed_lists(ListProblem problem) {
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
  const ListProblem problem = random_lists(30, 8, 0.05, mixed_length);
  for (const ListLossKind kind : list_loss_kinds()) {
    if (kind == ListLossKind::kPgRank) continue;
    SCOPED_TRACE(list_loss_name(kind));
    const LossResult forward = single_rank_list_loss<TypeParam>(problem, {.kind = kind});
    const LossResult backward = single_rank_list_loss<TypeParam>(reversed_lists(problem), {.kind = kind});
    EXPECT_LT(relative_difference({backward.value}, {forward.value}), this->kTolerance);
    EXPECT_LT(relative_difference(backward.query, forward.query), this->kTolerance);
  }
}

}  // namespace
}  // namespace toller
