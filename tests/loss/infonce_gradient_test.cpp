// Values against the NumPy script of tests/reference, gradients against it and against central differences.
#include <gtest/gtest.h>

#include "loss/infonce_problem.h"
#include "loss/loss_fixture.h"

namespace toller {
namespace {

template <class T>
void expect_reference(double tolerance) {
  for_each_case("infonce.json", 5, [&](const nlohmann::json& given) {
    const InfoNceOptions options{.symmetric = given["symmetric"], .tile_columns = 4};
    expect_equal(infonce_loss<T>(problem_of(given), options), result_of(given), tolerance);
  });
}

TEST(InfoNceReference, AgreesInDouble) {
  expect_reference<double>(1e-12);
}

TEST(InfoNceReference, AgreesInFloat) {
  expect_reference<float>(2e-5);
}

struct Variant {
  bool symmetric;
  bool several;
};

class InfoNceGradient : public testing::TestWithParam<Variant> {};

TEST_P(InfoNceGradient, AgreesWithCentralDifferences) {
  const LossProblem problem = random_problem(9, 13, 5, 0.2, GetParam().several);
  const auto loss = [symmetric = GetParam().symmetric](const LossProblem& given) {
    return infonce_loss<double>(given, {.symmetric = symmetric, .tile_columns = 5});
  };
  const auto value = [&](const LossProblem& given) { return loss(given).value; };
  expect_central_differences(problem, value, loss(problem), 1e-3, 1e-7);
}

INSTANTIATE_TEST_SUITE_P(Variants, InfoNceGradient,
                         testing::Values(Variant{false, false}, Variant{false, true}, Variant{true, false},
                                         Variant{true, true}),
                         [](const auto& info) {
                           return std::string(info.param.symmetric ? "Symmetric" : "QueryToDocument") +
                                  (info.param.several ? "Several" : "OnePositive");
                         });

}  // namespace
}  // namespace toller
