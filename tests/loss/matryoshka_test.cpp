// The sum of a loss over cut embeddings: values and gradients, any ranks, vectors of length 0, memory.
#include <gtest/gtest.h>

#include <limits>

#include "error.h"
#include "loss/infonce_problem.h"
#include "loss/list_problem.h"
#include "loss/loss_fixture.h"
#include "loss/loss_resources.h"

namespace toller {
namespace {

/// The matryoshka sum of what make_inner makes.
template <class T, class MakeInner>
auto matryoshka_of(const MatryoshkaOptions& options, const MakeInner& make_inner) {
  return [options, make_inner](Ops<T>& ops, ScoreOps<T>& score_ops) {
    return make_matryoshka<T>(ops, score_ops, make_inner(ops, score_ops), options);
  };
}

template <class T>
auto matryoshka_infonce(const MatryoshkaOptions& options, const InfoNceOptions& inner = {}) {
  return matryoshka_of<T>(options, with_options(make_infonce<T>, inner));
}

template <class T>
void expect_reference(double tolerance) {
  for_each_case("matryoshka.json", 2, [&](const nlohmann::json& given) {
    const MatryoshkaOptions options{given["dimensions"], given["normalize"]};
    const InfoNceOptions inner{.symmetric = given["symmetric"], .tile_columns = 4};
    expect_equal(loss_of<T>(problem_of(given), matryoshka_infonce<T>(options, inner)), result_of(given),
                 tolerance);
  });
}

TEST(MatryoshkaReference, AgreesInDouble) {
  expect_reference<double>(1e-12);
}

TEST(MatryoshkaReference, AgreesInFloat) {
  expect_reference<float>(2e-5);
}

TEST(MatryoshkaGradient, AgreesWithCentralDifferences) {
  LossProblem problem = random_problem(6, 13, 7, 0.2, true);
  for (double& x : problem.query) x *= 0.5;
  for (const bool normalize : {false, true}) {
    const auto loss = [&](const LossProblem& given) {
      return loss_of<double>(given, matryoshka_infonce<double>({{7, 4, 1}, normalize}));
    };
    const auto value = [&](const LossProblem& given) { return loss(given).value; };
    expect_central_differences(problem, value, loss(problem), 1e-3, 1e-7);
  }
}

template <class T>
class Matryoshka : public testing::Test {
 protected:
  static constexpr double kTolerance = std::is_same_v<T, float> ? 1e-5 : 1e-12;

  template <class MakeLoss>
  static void expect_ranks_do_not_matter(const LossProblem& problem, const MakeLoss& make_loss) {
    const LossResult alone = loss_of<T>(problem, make_loss);
    for (const std::vector<std::int64_t>& counts :
         std::vector<std::vector<std::int64_t>>{{24}, {10, 14}, {8, 0, 16}, {5, 6, 6, 7}}) {
      SCOPED_TRACE(testing::PrintToString(counts));
      expect_equal(distributed_loss_of<T>(problem, make_loss, counts), alone, kTolerance);
    }
  }
};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(Matryoshka, Elements);

TYPED_TEST(Matryoshka, OfUnitVectorsAtFullDimensionIsTheLossItself) {
  const LossProblem problem = random_problem(20, 41, 9, 0.05, true);
  const LossResult expected = infonce_loss<TypeParam>(problem);
  expect_equal(loss_of<TypeParam>(problem, matryoshka_infonce<TypeParam>({{9}, false})), expected, 1e-15);
  const LossResult result = loss_of<TypeParam>(problem, matryoshka_infonce<TypeParam>({{9}, true}));
  EXPECT_LT(relative_difference({result.value}, {expected.value}), this->kTolerance);
}

/// The gradient along a unit vector is gone; what is left is the loss's.
TYPED_TEST(Matryoshka, GradientsLieAcrossVectorsThatWereNormalised) {
  const LossProblem problem = random_problem(20, 41, 9, 0.05, true);
  const LossResult result = loss_of<TypeParam>(problem, matryoshka_infonce<TypeParam>({{9}, true}));
  for (std::int64_t i = 0; i < problem.queries; ++i) {
    double along = 0;
    for (std::int64_t j = 0; j < 9; ++j) along += problem.query[i * 9 + j] * result.query[i * 9 + j];
    EXPECT_NEAR(along, 0, 10 * this->kTolerance);
  }
}

TYPED_TEST(Matryoshka, RanksDoNotMatter) {
  this->expect_ranks_do_not_matter(random_problem(24, 53, 8, 0.05, true),
                                   matryoshka_infonce<TypeParam>({{8, 3}, true}, {.symmetric = true}));
}

TYPED_TEST(Matryoshka, TakesOtherLosses) {
  const LossProblem problem = random_problem(24, 53, 8, 0.1, true);
  this->expect_ranks_do_not_matter(
      problem, matryoshka_of<TypeParam>({{8, 3}, true}, with_options(make_mw<TypeParam>, {})));
  const LossProblem lists = random_lists(24, 6, 0.1, mixed_length);
  this->expect_ranks_do_not_matter(
      lists, matryoshka_of<TypeParam>({{6, 2}, true}, with_options(make_list_loss<TypeParam>, {})));
}

TYPED_TEST(Matryoshka, RepeatsItsBits) {
  const LossProblem problem = random_problem(60, 97, 8, 0.02, true);
  const auto make_loss = matryoshka_infonce<TypeParam>({{8, 5, 3}, true});
  expect_same_bits(distributed_loss_of<TypeParam>(problem, make_loss, {20, 25, 15}),
                   distributed_loss_of<TypeParam>(problem, make_loss, {20, 25, 15}));
  expect_threads_do_not_matter([&] { return loss_of<TypeParam>(problem, make_loss); }, this->kTolerance);
}

TYPED_TEST(Matryoshka, ZeroVectorsStayZero) {
  LossProblem problem = random_problem(4, 9, 5, 0.1, false);
  // Zero once they are cut, and zero as a whole.
  for (int j = 0; j < 2; ++j) problem.query[j] = problem.document[2 * 5 + j] = 0;
  for (int j = 0; j < 5; ++j) problem.query[5 + j] = problem.document[5 * 5 + j] = 0;
  const LossResult result = loss_of<TypeParam>(problem, matryoshka_infonce<TypeParam>({{5, 2}, true}));
  expect_finite(result);
  for (int j = 0; j < 5; ++j) EXPECT_EQ(result.query[5 + j], 0);
  const LossResult cut = loss_of<TypeParam>(problem, matryoshka_infonce<TypeParam>({{2}, true}));
  for (int j = 0; j < 5; ++j) EXPECT_EQ(cut.query[j], 0);
}

TYPED_TEST(Matryoshka, GivesNaNForNaN) {
  LossProblem problem = random_problem(5, 11, 3, 0.1, true);
  problem.document[0] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(loss_of<TypeParam>(problem, matryoshka_infonce<TypeParam>({{3, 1}, true})).value));
}

TYPED_TEST(Matryoshka, ARankWithoutQueriesHasNoGradient) {
  const LossProblem problem = random_problem(4, 9, 3, 0.1, false);
  loss_without_queries<TypeParam>(problem, matryoshka_infonce<TypeParam>({{3, 2}, true}));
}

TEST(MatryoshkaMemory, IsThatOfOneDimension) {
  const auto ops = make_cpu_ops<float>();
  const auto score_ops = make_cpu_score_ops<float>();
  const LossSize size{.queries = 24, .candidates = 150, .positives = 24, .own = 150, .dimension = 64};
  const auto bytes = [&](const Loss<float>& loss) {
    Arena arena;
    loss.take_memory(size, arena);
    return arena.peak();
  };
  const std::size_t inner = bytes(*make_infonce<float>(*ops, *score_ops, {}));
  // A row: what was cut and its gradient, and its norm.
  const std::size_t rows = (24 + 150) * (2 * 32 + 1) * sizeof(float);
  const std::size_t sum = bytes(*matryoshka_infonce<float>({{32, 16, 8, 4}, true})(*ops, *score_ops));
  EXPECT_GE(sum, inner + rows);
  EXPECT_LE(sum, inner + rows + 8 * 256);  // rounded up
}

TEST(MatryoshkaCheck, RejectsWrongDimensions) {
  const LossProblem problem = random_problem(4, 9, 3, 0.1, false);
  for (const std::vector<std::int64_t>& dimensions :
       std::vector<std::vector<std::int64_t>>{{}, {2, 3}, {2, 2}, {2, 0}, {-1}}) {
    EXPECT_THROW(loss_of<float>(problem, matryoshka_infonce<float>({dimensions, true})), UsageError);
  }
  EXPECT_THROW(loss_of<float>(problem, matryoshka_infonce<float>({{4, 2}, true})), Error);
}

}  // namespace
}  // namespace toller
