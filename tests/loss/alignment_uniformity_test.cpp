// Alignment and uniformity: value and gradients, any ranks and tiles, corners.
#include <gtest/gtest.h>

#include <limits>

#include "error.h"
#include "loss/alignment_uniformity_problem.h"
#include "loss/loss_fixture.h"
#include "loss/loss_resources.h"

namespace toller {
namespace {

template <class T>
void expect_reference(double tolerance) {
  for_each_case("alignment_uniformity.json", 6, [&](const nlohmann::json& given) {
    const AlignmentUniformityOptions options{.uniformity_weight = given["uniformity_weight"],
                                             .calibrated = given["calibrated"],
                                             .tile_rows = 3,
                                             .tile_columns = 4};
    expect_equal(alignment_loss<T>(problem_of(given), options), result_of(given), tolerance);
  });
}

TEST(AlignmentUniformityReference, AgreesInDouble) {
  expect_reference<double>(1e-12);
}

TEST(AlignmentUniformityReference, AgreesInFloat) {
  expect_reference<float>(2e-5);
}

TEST(AlignmentUniformityGradient, AgreesWithCentralDifferences) {
  LossProblem problem = problem_with_brought_documents(7, 5);
  for (std::size_t i = 0; i < problem.document.size(); ++i) problem.document[i] *= 1 + i / 5 % 3;
  for (const bool calibrated : {false, true}) {
    const AlignmentUniformityOptions options{.uniformity_weight = 1.5, .calibrated = calibrated};
    const auto value = [&](const LossProblem& given) { return alignment_loss<double>(given, options).value; };
    expect_central_differences(problem, value, alignment_loss<double>(problem, options), 1e-3, 1e-8);
  }
}

template <class T>
class AlignmentUniformity : public testing::Test {
 protected:
  static constexpr double kTolerance = std::is_same_v<T, float> ? 1e-5 : 1e-12;
};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(AlignmentUniformity, Elements);

TYPED_TEST(AlignmentUniformity, TilesDoNotMatter) {
  const LossProblem problem = problem_with_brought_documents(120, 12);
  const LossResult whole = alignment_loss<TypeParam>(problem, {.tile_rows = 400, .tile_columns = 400});
  for (const auto& [rows, columns] : {std::pair{150, 1}, {7, 16}, {64, 65}, {1, 500}, {0, 0}}) {
    SCOPED_TRACE(testing::Message() << rows << " × " << columns);
    expect_equal(alignment_loss<TypeParam>(problem, {.tile_rows = rows, .tile_columns = columns}), whole,
                 this->kTolerance);
  }
}

TYPED_TEST(AlignmentUniformity, RanksDoNotMatter) {
  const LossProblem problem = problem_with_brought_documents(61, 12);
  for (const bool calibrated : {false, true}) {
    const AlignmentUniformityOptions options{.calibrated = calibrated, .tile_rows = 9, .tile_columns = 50};
    const LossResult alone = alignment_loss<TypeParam>(problem, options);
    for (const std::vector<std::int64_t>& counts : std::vector<std::vector<std::int64_t>>{
             {61}, {60, 1}, {0, 61}, {20, 21, 20}, {30, 0, 31}, {16, 15, 15, 15}, {0, 30, 31, 0}}) {
      SCOPED_TRACE(testing::PrintToString(counts));
      expect_equal(distributed_alignment_loss<TypeParam>(problem, options, counts), alone, this->kTolerance);
    }
  }
}

TYPED_TEST(AlignmentUniformity, RepeatsItsBits) {
  const LossProblem problem = problem_with_brought_documents(120, 8);
  const AlignmentUniformityOptions options{.tile_rows = 32, .tile_columns = 100};
  const LossResult once = distributed_alignment_loss<TypeParam>(problem, options, {50, 30, 40});
  expect_same_bits(distributed_alignment_loss<TypeParam>(problem, options, {50, 30, 40}), once);
  expect_threads_do_not_matter([&] { return alignment_loss<TypeParam>(problem, options); }, this->kTolerance);
}

TYPED_TEST(AlignmentUniformity, IsTheAlignmentOfOneQueryWithOneDocument) {
  // Vectors (1, 0) and (3, 4) / 5: |q - d|² = 0.16 + 0.64.
  LossProblem problem{1, 1, 2, 0, {2, 0}, {3, 4}, {{0}}, {{}}, {0, 1}, {1}};
  const LossResult result = alignment_loss<TypeParam>(problem);
  EXPECT_NEAR(result.value, 0.8, 1e-6);
  EXPECT_NEAR(result.query[0], 0, 1e-6) << "length does not matter";
  EXPECT_NEAR(result.query[1], -2 * 0.8 / 2, 1e-6);
  EXPECT_EQ(result.log_temperature, 0);
  problem.document = {7, 0};
  const LossResult aligned = alignment_loss<TypeParam>(problem);
  EXPECT_NEAR(aligned.value, 0, 1e-6);
  for (const double x : aligned.query) EXPECT_NEAR(x, 0, 1e-6);
}

TYPED_TEST(AlignmentUniformity, MatchesTwoQueriesByHand) {
  // Queries at right angles: |q - q'|² = 2. Documents opposite to each other: |d - d'|² = 4.
  LossProblem problem{2, 2, 2, 0, {1, 0, 0, 1}, {1, 0, -1, 0}, {{0}, {1}}, {{}, {}}, {0, 1, 2}, {1, 1}};
  const double alignment = (0 + 2) / 2.0;
  EXPECT_NEAR(alignment_loss<TypeParam>(problem, {.calibrated = false}).value, alignment + (-4 - 8) / 2.0,
              1e-6);
  EXPECT_NEAR(alignment_loss<TypeParam>(problem).value, alignment + (-4 - 8 + 4) / 2.0, 1e-6);
  // One of the two ordered pairs is similar: mean of e^{-8} and e^{-4}.
  problem.excluded[0] = {1};
  EXPECT_NEAR(alignment_loss<TypeParam>(problem).value,
              alignment + (-4 + std::log((std::exp(-8.0) + std::exp(-4.0)) / 2)) / 2, 1e-6);
}

TYPED_TEST(AlignmentUniformity, HoldsForVectorsThatAreAlikeOrOpposite) {
  LossProblem problem = problem_with_brought_documents(9, 3);
  for (const double sign : {1.0, -1.0}) {
    for (std::size_t i = 0; i < problem.query.size(); ++i) problem.query[i] = i % 3 == 0 ? 1 : 0;
    for (std::size_t i = 0; i < problem.document.size(); ++i) problem.document[i] = i % 3 == 0 ? sign : 0;
    const LossResult result = alignment_loss<TypeParam>(problem, {.calibrated = false, .tile_columns = 5});
    EXPECT_NEAR(result.value, sign > 0 ? 0 : 4, 1e-6);
    for (const double x : result.query) EXPECT_NEAR(x, 0, 1e-6);
    for (const double x : result.document) EXPECT_NEAR(x, 0, 1e-6);
  }
}

TYPED_TEST(AlignmentUniformity, AVectorOfZerosHasNoGradient) {
  LossProblem problem = problem_with_brought_documents(5, 4);
  std::fill_n(problem.query.begin() + 4, 4, 0.0);
  std::fill_n(problem.document.begin(), 4, 0.0);
  const LossResult result = alignment_loss<TypeParam>(problem);
  expect_finite(result);
  for (int j = 0; j < 4; ++j) {
    EXPECT_EQ(result.query[4 + j], 0);
    EXPECT_EQ(result.document[j], 0);
  }
}

TYPED_TEST(AlignmentUniformity, CalibrationSparesTheDocumentsOfOneQuery) {
  // Query 0 brings two documents close to each other, query 1 one far away.
  const LossProblem problem{
      2, 3, 2, 0, {1, 0, 0, 1}, {1, 0.1, 1, -0.1, -0.1, 1}, {{0, 1}, {2}}, {{}, {}}, {0, 2, 3}, {1, 1, 1}};
  const auto repulsion = [&](bool calibrated) {
    return -alignment_loss<TypeParam>(problem, {.uniformity_weight = 10, .calibrated = calibrated})
                .document[1];
  };
  EXPECT_GT(repulsion(false), 1);
  EXPECT_LT(repulsion(true), 0.8 * repulsion(false));
}

TYPED_TEST(AlignmentUniformity, GivesNaNForNaN) {
  const LossProblem good = problem_with_brought_documents(9, 3);
  for (const std::int64_t tile : {4, 64}) {
    LossProblem query = good, document = good;
    query.query[7] = document.document[7] = std::numeric_limits<double>::quiet_NaN();
    for (const LossProblem& bad : {query, document}) {
      const AlignmentUniformityOptions options{.tile_rows = 2, .tile_columns = tile};
      EXPECT_TRUE(std::isnan(alignment_loss<TypeParam>(bad, options).value));
      EXPECT_TRUE(std::isnan(distributed_alignment_loss<TypeParam>(bad, options, {2, 7}).value));
    }
  }
}

TYPED_TEST(AlignmentUniformity, ARankWithoutQueriesHasNoGradient) {
  loss_without_queries<TypeParam>(
      problem_with_brought_documents(5, 3),
      with_options(make_alignment_uniformity<TypeParam>, {.uniformity_weight = 0.25}));
}

TEST(AlignmentUniformityMemory, DoesNotHoldTheScores) {
  const LossProblem problem =
      problem_with_brought_documents(2048, 2);  // 100 MiB of documents' scores in fp32
  expect_less_memory(8 * 1024, [&] {
    return alignment_loss<float>(problem, {.uniformity_weight = 0.25, .tile_rows = 256, .tile_columns = 512});
  });
}

TEST(AlignmentUniformityCheck, RejectsWrongLists) {
  LossProblem good = problem_with_lists();
  good.own_offsets = {0, 1, 3};
  good.grade = {1, 1, 1};
  EXPECT_NO_THROW(alignment_loss<double>(good));
  for (LossProblem bad : problems_with_wrong_lists()) {
    bad.own_offsets = good.own_offsets;
    bad.grade = good.grade;
    EXPECT_THROW(alignment_loss<double>(bad), Error);
  }
  EXPECT_THROW(alignment_loss<double>(problem_with_lists()), Error)
      << "which documents did the queries bring?";
  LossProblem unowned = good;
  unowned.own_offsets = {0, 1, 2};
  unowned.grade = {1, 1};
  EXPECT_THROW(alignment_loss<double>(unowned), Error);
}

TEST(AlignmentUniformityCheck, RejectsOptionsOutOfRange) {
  for (const AlignmentUniformityOptions& bad : std::vector<AlignmentUniformityOptions>{
           {.uniformity_weight = -1}, {.uniformity_weight = NAN}, {.tile_rows = -1}}) {
    EXPECT_THROW(alignment_loss<float>(problem_with_brought_documents(2, 2), bad), UsageError);
  }
}

}  // namespace
}  // namespace toller
