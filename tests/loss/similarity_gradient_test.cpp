// Values and gradients against the NumPy script of tests/reference, gradients against central differences
// too.
#include <gtest/gtest.h>

#include "loss/loss_fixture.h"
#include "loss/similarity_problem.h"

namespace toller {
namespace {

SimilarityOptions options_of(const nlohmann::json& given) {
  SimilarityOptions options{.gap = given["gap"]};
  for (const SimilarityKind kind : similarity_kinds()) {
    if (similarity_name(kind) == given["kind"]) options.kind = kind;
  }
  return options;
}

template <class T>
void expect_reference(double tolerance) {
  for_each_case("similarity.json", 16, [&](const nlohmann::json& given) {
    expect_equal(similarity_loss<T>(problem_of(given), options_of(given)), result_of(given), tolerance);
  });
}

TEST(SimilarityReference, AgreesInDouble) {
  expect_reference<double>(1e-12);
}

TEST(SimilarityReference, AgreesInFloat) {
  expect_reference<float>(2e-5);
}

class SimilarityGradient : public testing::TestWithParam<SimilarityKind> {};

TEST_P(SimilarityGradient, AgreesWithCentralDifferences) {
  const LossProblem problem = random_pairs(8, 4, 0.2);
  const auto loss = [kind = GetParam()](const LossProblem& given) {
    return similarity_loss<double>(given, {.kind = kind, .gap = 0.3});
  };
  const auto value = [&](const LossProblem& given) { return loss(given).value; };
  expect_central_differences(problem, value, loss(problem), 1e-4, 1e-7);
}

INSTANTIATE_TEST_SUITE_P(Kinds, SimilarityGradient, testing::ValuesIn(similarity_kinds()),
                         similarity_test_name);

}  // namespace
}  // namespace toller
