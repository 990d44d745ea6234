// Corners: nothing to compare, ties, extreme temperatures, values that are not numbers, lists that are wrong.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "comm/host_tensor_communicator.h"
#include "error.h"
#include "loss/list_problem.h"

namespace toller {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

class ListLossEdge : public testing::TestWithParam<ListLossKind> {};

TEST_P(ListLossEdge, IsZeroWithoutAPair) {
  const ListLossOptions options{.kind = GetParam()};
  expect_all_zero(list_loss<double>(one_list({0.5}, {2}, {1}), options));
  expect_all_zero(list_loss<double>(one_list({0.5, 0.1}, {2, -1}, {1, 2}), options));
  expect_all_zero(list_loss<double>(one_list({}, {}), options));
  const LossResult equal = list_loss<double>(one_list({0.5, 0.1}, {1, 1}, {1, 2}), options);
  if (GetParam() == ListLossKind::kKl) {
    EXPECT_GT(equal.value, 0);  // the teacher has something to say
  } else {
    expect_all_zero(equal);
  }
}

TEST_P(ListLossEdge, QueriesWithoutAPairDoNotCount) {
  const ListLossOptions options{.kind = GetParam()};
  LossProblem problem = one_list({0.5, 0.1, -0.3}, {0, 2, 1}, {1, 2, 0.5f}, 0.3);
  const LossResult alone = list_loss<double>(problem, options);
  problem.queries = 3;
  problem.query = {1, 0.7, 0.3};
  problem.own_offsets = {0, 3, 4, 4};
  problem.candidates = 5;  // a column that is nobody's
  problem.document.insert(problem.document.end(), {0.9, 0.8});
  problem.grade.insert(problem.grade.end(), {3, 3});
  problem.teacher.insert(problem.teacher.end(), {3, 3});
  const LossResult together = list_loss<double>(problem, options);
  EXPECT_EQ(together.value, alone.value);
  EXPECT_EQ(together.query, (std::vector<double>{alone.query[0], 0, 0}));
  for (int k = 0; k < 3; ++k) EXPECT_EQ(together.document[k], alone.document[k]);
  EXPECT_EQ(together.document[3], 0);
  EXPECT_EQ(together.document[4], 0);
}

TEST_P(ListLossEdge, DocumentsThatAreLeftOutDoNotMatter) {
  const ListLossOptions options{.kind = GetParam()};
  LossProblem problem = one_list({0.5, 0.1, -0.3, 0.4}, {0, 2, -1, 1}, {1, 2, 0, 0.5f}, 0.3);
  const LossResult before = list_loss<double>(problem, options);
  problem.document[2] = kNaN;
  problem.teacher[2] = 7;
  const LossResult after = list_loss<double>(problem, options);
  EXPECT_EQ(after.value, before.value);
  EXPECT_EQ(after.query, before.query);
  EXPECT_EQ(after.document, before.document);
  EXPECT_EQ(after.document[2], 0);
}

TEST_P(ListLossEdge, GivesNaNForNaN) {
  const ListLossOptions options{.kind = GetParam()};
  const LossProblem good = random_lists(7, 3, 0.1, mixed_length);
  LossProblem query = good, document = good;
  query.query[4] = kNaN;  // of the second query, which has nine documents
  document.document[5 * 3] = kNaN;
  document.grade[5] = 0;
  document.grade[6] = 1;
  EXPECT_TRUE(std::isnan(list_loss<double>(query, options).value));
  EXPECT_TRUE(std::isnan(list_loss<double>(document, options).value));
  LossProblem temperature = good;
  temperature.log_temperature = kNaN;
  const bool divides = list_loss<double>(good, options).log_temperature != 0;
  EXPECT_EQ(std::isnan(list_loss<double>(temperature, options).value), divides);
}

TEST_P(ListLossEdge, HoldsAtExtremesAndTies) {
  const ListLossOptions options{.kind = GetParam()};
  const std::vector<std::int32_t> grades = {0, 3, 3, 0, 1, 2};
  const std::vector<float> teacher = {1, 3, 3, 0, 1, 2};
  for (const double temperature : {1.0, 0.005}) {
    for (const auto& scores : std::vector<std::vector<double>>{
             {1, -1, -1, 1, -1, -1}, {-1, 1, 1, -1, 1, 1}, {0.5, 0.5, 0.5, 0.5, 0.5, 0.5}}) {
      expect_finite(list_loss<double>(one_list(scores, grades, teacher, temperature), options));
      expect_finite(list_loss<float>(one_list(scores, grades, teacher, temperature), options));
    }
  }
  LossProblem huge = one_list({0.5, 0.4, 0.3}, {0, std::numeric_limits<std::int32_t>::max(), 1}, {1, 2, 3});
  expect_finite(list_loss<double>(huge, options));
}

TEST_P(ListLossEdge, RejectsWrongLists) {
  const ListLossOptions options{.kind = GetParam()};
  const LossProblem good = one_list({0.5, 0.1}, {0, 1}, {1, 2});
  EXPECT_NO_THROW(list_loss<double>(good, options));
  LossProblem far = good;
  far.candidates = 1;
  EXPECT_THROW(list_loss<double>(far, options), Error);
  const auto ops = make_cpu_ops<double>();
  const auto score_ops = make_cpu_score_ops<double>();
  const auto loss = make_list_loss<double>(*ops, *score_ops, options);
  SelfCommunicator self;
  HostTensorCommunicator tensors(self);
  const double log_temperature = 0;
  for (const auto& offsets : std::vector<std::vector<std::int64_t>>{{}, {0}, {-1, 1}, {2, 1}, {0, 1}}) {
    LossBatch<double> batch;
    batch.queries = 1;
    batch.candidates = 2;
    batch.dimension = 1;
    batch.own_offsets = offsets;
    batch.own_grade = good.grade;
    EXPECT_THROW(loss->compute(batch, &log_temperature, tensors, {}), Error);
  }
  LossProblem unteached = good;
  unteached.teacher.clear();
  if (GetParam() == ListLossKind::kKl || GetParam() == ListLossKind::kMarginMse) {
    EXPECT_THROW(list_loss<double>(unteached, options), Error);
  } else {
    EXPECT_NO_THROW(list_loss<double>(unteached, options));
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, ListLossEdge, testing::ValuesIn(list_loss_kinds()), list_loss_test_name);

TEST(ListLossByHand, RankNetOfTwoDocuments) {
  const LossResult result =
      list_loss<double>(one_list({0.5, 0.25}, {0, 2}), {.kind = ListLossKind::kRankNet, .scale = 4});
  EXPECT_NEAR(result.value, std::log1p(std::exp(1.0)), 1e-15);
  const double slope = 4 / (1 + std::exp(-1.0));
  EXPECT_NEAR(result.document[0], slope, 1e-15);
  EXPECT_NEAR(result.document[1], -slope, 1e-15);
}

TEST(ListLossByHand, ListMleOfBinaryGradesIsInfoNceOverTheList) {
  const LossResult result =
      list_loss<double>(one_list({0.5, 0.25, -0.5}, {1, 0, 0}, {}, 0.5), {.kind = ListLossKind::kListMle});
  EXPECT_NEAR(result.value, std::log(std::exp(1.0) + std::exp(0.5) + std::exp(-1.0)) - 1, 1e-14);
}

TEST(ListLossByHand, SemiHardTakesTheHighestBelowThePositive) {
  const ListLossOptions options{
      .kind = ListLossKind::kHinge, .margin = 0.3, .negatives = HingeNegatives::kSemiHard};
  const LossResult below = list_loss<double>(one_list({0.5, 0.6, 0.4, 0.3}, {1, 0, 0, 0}), options);
  EXPECT_NEAR(below.value, 0.2, 1e-15);
  EXPECT_EQ(below.document, (std::vector<double>{-1, 0, 1, 0}));
  const LossResult above = list_loss<double>(one_list({0.1, 0.6, 0.4, 0.3}, {1, 0, 0, 0}), options);
  EXPECT_NEAR(above.value, 0.5, 1e-15);
  EXPECT_EQ(above.document, (std::vector<double>{-1, 0, 0, 1}));
}

TEST(ListLossOptionsCheck, RejectsWhatIsOutOfRange) {
  const auto ops = make_cpu_ops<float>();
  const auto score_ops = make_cpu_score_ops<float>();
  for (const ListLossOptions& options : {ListLossOptions{.scale = -1},
                                         {.scale = kNaN},
                                         {.margin = -0.1},
                                         {.teacher_temperature = 0},
                                         {.samples = 1},
                                         {.samples = 70000},
                                         {.cutoff = 0}}) {
    EXPECT_THROW(make_list_loss<float>(*ops, *score_ops, options), UsageError);
  }
}

}  // namespace
}  // namespace toller
