// Values and gradients against the NumPy script of tests/reference, gradients against central differences
// too.
#include <gtest/gtest.h>

#include "loss/list_problem.h"
#include "loss/loss_fixture.h"

namespace toller {
namespace {

ListLossOptions options_of(const nlohmann::json& given) {
  ListLossOptions options;
  for (const ListLossKind kind : list_loss_kinds()) {
    if (list_loss_name(kind) == given["kind"]) options.kind = kind;
  }
  options.scale = given["scale"];
  options.margin = given["margin"];
  options.negatives = given["negatives"] == "all"       ? HingeNegatives::kAll
                      : given["negatives"] == "hardest" ? HingeNegatives::kHardest
                                                        : HingeNegatives::kSemiHard;
  options.teacher_temperature = given["teacher_temperature"];
  options.samples = given["samples"];
  options.cutoff = given["cutoff"];
  options.seed = given["seed"];
  return options;
}

template <class T>
void expect_reference(double tolerance) {
  for_each_case("list_loss.json", 17, [&](const nlohmann::json& given) {
    expect_equal(list_loss<T>(problem_of(given), options_of(given)), result_of(given), tolerance);
  });
}

TEST(ListLossReference, AgreesInDouble) {
  expect_reference<double>(1e-12);
}

TEST(ListLossReference, AgreesInFloat) {
  expect_reference<float>(2e-5);
}

class ListLossGradient : public testing::TestWithParam<ListLossKind> {};

TEST_P(ListLossGradient, AgreesWithCentralDifferences) {
  const LossProblem problem = random_lists(5, 4, 0.2, mixed_length);
  const auto loss = [kind = GetParam()](const LossProblem& given) {
    return list_loss<double>(given, {.kind = kind, .margin = 0.31});
  };
  const auto value = [&](const LossProblem& given) { return loss(given).value; };
  // No two scores are so near that ranks change.
  expect_central_differences(problem, value, loss(problem), 1e-4, 1e-7);
}

/// All but pg-rank, whose gradient is not the derivative of what was drawn.
std::vector<ListLossKind> differentiable() {
  std::vector<ListLossKind> kinds = list_loss_kinds();
  std::erase(kinds, ListLossKind::kPgRank);
  return kinds;
}

INSTANTIATE_TEST_SUITE_P(Kinds, ListLossGradient, testing::ValuesIn(differentiable()), list_loss_test_name);

}  // namespace
}  // namespace toller
