// Positives against negatives pair by pair on the device against the CPU operations in double, on the numbers
// that the kernels read.
#include "cuda/score_pairwise.cuh"

#include <gtest/gtest.h>

#include "cuda/device_array.h"
#include "cuda/random_scores.h"
#include "device/score_ops.h"

namespace toller {
namespace {

const PairCost kCosts[] = {
    {PairCostKind::kLogistic}, {PairCostKind::kReversedLogistic}, {PairCostKind::kHinge, 0.2}};

/// z in float is wrong by some 2⁻²⁴ of its size.
constexpr double kPairError = 3e-5;

/// A tile at (4, 5) of a batch; rows with one to three positives each, three columns of four with one.
struct PairwiseCase {
  static constexpr std::int64_t kRows = 9, kColumns = 333, kAllRows = 13, kAllColumns = 338;
  ScoreTile tile{4, kRows, 5, kColumns};
  std::vector<double> scores = random_scores(kRows * kColumns, 7);
  std::vector<ScorePair> pair;
  std::vector<std::int64_t> begin{0};
  std::vector<double> positive, row_weight, column_positive, column_weight, row_chosen, column_chosen;

  PairwiseCase() {
    for (std::int32_t i = 0; i < kAllRows; ++i) {
      for (std::int32_t k = 0; i >= 4 && k < i % 3 + 1; ++k) pair.push_back({i, 3 * i + k});
      begin.push_back(static_cast<std::int64_t>(pair.size()));
      row_weight.push_back(0.25 + i);
    }
    positive = positives(static_cast<std::int64_t>(pair.size()), 8);
    column_positive = positives(kAllColumns, 9);
    for (std::int64_t j = 0; j < kAllColumns; ++j) {
      column_weight.push_back(j % 4 == 1 ? 0 : 0.5 + static_cast<double>(j % 7));
      column_chosen.push_back(j % 5 == 0 ? -1 : static_cast<double>(100 + j % kAllRows));
    }
    for (std::size_t p = 0; p < pair.size(); ++p) row_chosen.push_back(p % 4 == 0 ? -1 : 8.0 + 2 * p);
  }

  static std::vector<double> positives(std::int64_t n, unsigned seed) {
    std::vector<double> scores = random_numbers<float>(n, seed);
    for (double& score : scores) score = std::tanh(score);
    return rounded<float>(scores);
  }
};

/// The case on the device, and the arguments of the operations on either side.
struct DevicePairwiseCase {
  explicit DevicePairwiseCase(const PairwiseCase& given)
      : scores(on_device<float>(given.scores)),
        positive(on_device<float>(given.positive)),
        column_positive(on_device<float>(given.column_positive)),
        row_weight(given.row_weight),
        column_weight(given.column_weight),
        row_chosen(given.row_chosen),
        column_chosen(given.column_chosen),
        begin(given.begin),
        pair(given.pair) {}

  DeviceArray<float> scores, positive, column_positive;
  DeviceArray<double> row_weight, column_weight, row_chosen, column_chosen;
  DeviceArray<std::int64_t> begin;
  DeviceArray<ScorePair> pair;
};

template <class T>
class PairwiseGradients : public testing::Test {};
TYPED_TEST_SUITE(PairwiseGradients, StorageTypes);

/// Which positives meet a score: all, those of its row, those of its row and that of its column, or those
/// that have chosen it.
enum class Meeting { kAll, kRow, kRowAndColumn, kChosen };

template <class T>
void compare_gradient(const PairCost& cost, double temperature, Meeting meeting) {
  const PairwiseCase given;
  DevicePairwiseCase device(given);
  const bool own = meeting != Meeting::kAll, chosen = meeting == Meeting::kChosen;
  const bool with_columns = meeting == Meeting::kRowAndColumn || chosen;
  const auto n = static_cast<std::int64_t>(given.pair.size());
  const double inverse = 1 / temperature;
  RowPositives<double> rows{n, own ? given.begin.data() : nullptr, given.positive.data(),
                            given.row_weight.data(), chosen ? given.row_chosen.data() : nullptr};
  ColumnPositives<double> columns{with_columns ? given.column_positive.data() : nullptr,
                                  given.column_weight.data(), chosen ? given.column_chosen.data() : nullptr,
                                  100};
  std::vector<double> expected(given.scores.size());
  make_cpu_score_ops<double>()->pairwise_gradient(given.tile, given.scores.data(), &inverse, cost, rows,
                                                  columns, expected.data());
  DeviceArray<double> factor(std::vector<double>{inverse});
  DeviceArray<T> gradient(static_cast<std::int64_t>(expected.size()));
  pairwise_gradient<T>(given.tile, device.scores.data(), factor.data(), cost,
                       {n, own ? device.begin.data() : nullptr, device.positive.data(),
                        device.row_weight.data(), chosen ? device.row_chosen.data() : nullptr},
                       {with_columns ? device.column_positive.data() : nullptr, device.column_weight.data(),
                        chosen ? device.column_chosen.data() : nullptr, 100},
                       gradient.data(), nullptr);
  const std::vector<double> result = gradient.doubles();
  const double rounding = kPairError + (std::is_same_v<T, bfloat16> ? kBfloat16Error : 0);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(result[i], expected[i], rounding * std::abs(expected[i]) + 1e-30) << i;
  }
}

TYPED_TEST(PairwiseGradients, AreSumsOverPairs) {
  for (const PairCost& cost : kCosts) {
    for (const double temperature : {0.01, 0.3}) {
      for (const Meeting meeting : {Meeting::kAll, Meeting::kRow, Meeting::kRowAndColumn, Meeting::kChosen}) {
        SCOPED_TRACE(testing::Message() << "cost " << static_cast<int>(cost.kind) << ", temperature "
                                        << temperature << ", meeting " << static_cast<int>(meeting));
        compare_gradient<TypeParam>(cost, temperature, meeting);
      }
    }
  }
}

void compare_sums(const PairCost& cost, double temperature, bool own) {
  const PairwiseCase given;
  DevicePairwiseCase device(given);
  const auto cpu = make_cpu_score_ops<double>();
  const auto n = static_cast<std::int64_t>(given.pair.size());
  const double inverse = 1 / temperature;
  std::vector<double> value(n, 0.5), slope(n, 0.25), moment(n, -0.75), gradient(n), weight(n, 0.125);
  weight[2] = 3;
  DeviceArray<double> device_value(value), device_slope(slope), device_moment(moment), terms(n), totals(2);
  DeviceArray<double> factor(std::vector<double>{inverse}), device_weight(weight);
  const PositiveSums<double> sums{
      n, own ? given.pair.data() : nullptr, given.positive.data(), value.data(), slope.data(), moment.data()};
  const PositiveSums<float> device_sums{n,
                                        own ? device.pair.data() : nullptr,
                                        device.positive.data(),
                                        device_value.data(),
                                        device_slope.data(),
                                        device_moment.data()};
  cpu->add_positive_sums(given.tile, given.scores.data(), &inverse, cost, sums);
  add_positive_sums(given.tile, device.scores.data(), factor.data(), cost, device_sums, nullptr);
  double total = 0, log_temperature = 0;
  cpu->pairwise_terms(n, weight.data(), sums, gradient.data(), &total, &log_temperature);
  pairwise_terms(n, device_weight.data(), device_sums, terms.data(), totals.data(), totals.data() + 1,
                 nullptr);
  for (std::int64_t p = 0; p < n; ++p) {
    EXPECT_NEAR(device_value.values()[p], value[p], 1e-5 * value[p]);
    EXPECT_NEAR(device_slope.values()[p], slope[p], 1e-5 * std::abs(slope[p]));
    EXPECT_NEAR(device_moment.values()[p], moment[p], 1e-5 * value[p]);
    EXPECT_NEAR(terms.values()[p], gradient[p], 1e-5 * std::abs(gradient[p]));
  }
  EXPECT_NEAR(totals.values()[0], total, 1e-5 * total);
  EXPECT_NEAR(totals.values()[1], log_temperature, 1e-5 * total);
}

TEST(PairsOnTheDevice, AddUpByPositiveLikeTheCpus) {
  for (const PairCost& cost : kCosts) {
    for (const double temperature : {0.01, 0.3}) {
      for (const bool own : {false, true}) compare_sums(cost, temperature, own);
    }
  }
}

TEST(PairsOnTheDevice, AddUpByColumnLikeTheCpus) {
  const PairwiseCase given;
  DevicePairwiseCase device(given);
  in_both_thread_orders([&] {
    for (const PairCost& cost : kCosts) {
      const double inverse = 4;
      DeviceArray<double> factor(std::vector<double>{inverse});
      std::vector<double> value(PairwiseCase::kAllColumns, 0.5), slope(PairwiseCase::kAllColumns, -0.25);
      DeviceArray<double> device_value(value), device_slope(slope);
      make_cpu_score_ops<double>()->add_column_sums(
          given.tile, given.scores.data(), &inverse, cost,
          {given.column_positive.data(), given.column_weight.data()}, value.data(), slope.data());
      add_column_sums(given.tile, device.scores.data(), factor.data(), cost,
                      {device.column_positive.data(), device.column_weight.data()}, device_value.data(),
                      device_slope.data(), nullptr);
      expect_near<float>(device_value.values(), value, "value");
      expect_near<float>(device_slope.values(), slope, "slope");
    }
  });
}

/// −∞ everywhere.
std::vector<double> nothing_offered(std::int64_t n) {
  return std::vector<double>(static_cast<std::size_t>(n), -std::numeric_limits<double>::infinity());
}

/// Offers the tile in two parts to rows or to columns, and settles on a best that is elsewhere for some
/// lines.
void compare_choices(const PairwiseCase& given, bool semi_hard, bool of_columns) {
  SCOPED_TRACE(testing::Message() << "semi-hard " << semi_hard << ", columns " << of_columns);
  DevicePairwiseCase device(given);
  const auto cpu = make_cpu_score_ops<double>();
  const auto n = static_cast<std::int64_t>(given.pair.size());
  const std::int64_t lines = of_columns ? PairwiseCase::kAllColumns : n;
  const std::int64_t offers = semi_hard ? 2 * lines : lines;
  std::vector<double> best = nothing_offered(offers), number(offers, 0);
  DeviceArray<float> device_best = on_device<float>(best);
  DeviceArray<double> device_number(number);
  const NegativeChoices<double> choices{lines, semi_hard, best.data(), number.data()};
  const NegativeChoices<float> device_choices{lines, semi_hard, device_best.data(), device_number.data()};
  for (int part = 0; part < 2; ++part) {  // offered twice: nothing changes
    if (of_columns) {
      cpu->offer_columns(given.tile, given.scores.data(),
                         {given.column_positive.data(), given.column_weight.data(), nullptr, 100}, choices);
      offer_columns(given.tile, device.scores.data(),
                    {device.column_positive.data(), device.column_weight.data(), nullptr, 100},
                    device_choices, nullptr);
    } else {
      cpu->offer_rows(given.tile, given.scores.data(), 0, n, given.pair.data(), given.positive.data(),
                      choices);
      offer_rows(given.tile, device.scores.data(), 0, n, device.pair.data(), device.positive.data(),
                 device_choices, nullptr);
    }
    EXPECT_EQ(device_best.doubles(), best);
    EXPECT_EQ(device_number.values(), number);
  }
  std::vector<double> over_ranks = best, chosen(lines), value(lines), slope(lines);
  for (std::int64_t line = 0; line < lines; line += 3) over_ranks[line] += 0.125;
  DeviceArray<float> device_over_ranks = on_device<float>(over_ranks);
  over_ranks = device_over_ranks.doubles();
  DeviceArray<double> device_chosen(lines), device_value(lines), device_slope(lines);
  cpu->propose_choices(choices, over_ranks.data(), chosen.data());
  propose_choices(device_choices, device_over_ranks.data(), device_chosen.data(), nullptr);
  EXPECT_EQ(device_chosen.values(), chosen);
  const double inverse = 1;
  DeviceArray<double> factor(std::vector<double>{inverse});
  const double* score = of_columns ? given.column_positive.data() : given.positive.data();
  const float* device_score = of_columns ? device.column_positive.data() : device.positive.data();
  cpu->chosen_terms(lines, semi_hard, over_ranks.data(), score, &inverse, kCosts[2], chosen.data(),
                    value.data(), slope.data());
  chosen_terms(lines, semi_hard, device_over_ranks.data(), device_score, factor.data(), kCosts[2],
               device_chosen.data(), device_value.data(), device_slope.data(), nullptr);
  EXPECT_EQ(device_chosen.values(), chosen);
  expect_near<float>(device_value.values(), value, "value");
  EXPECT_EQ(device_slope.values(), slope);
}

TEST(PairsOnTheDevice, ChooseWhatTheCpusChoose) {
  PairwiseCase given;
  std::fill_n(given.positive.begin() + 2, 3, -1.0);  // nothing is below it
  in_both_thread_orders([&] {
    for (const bool semi_hard : {false, true}) {
      for (const bool of_columns : {false, true}) compare_choices(given, semi_hard, of_columns);
    }
  });
}

TEST(PairsOnTheDevice, ANegativeThatIsNotANumberIsChosen) {
  const std::vector<double> scores{0.5, std::numeric_limits<double>::quiet_NaN(), 0.75};
  auto device_scores = on_device<float>(scores), positive = on_device<float>({0.6});
  DeviceArray<ScorePair> pair(std::vector<ScorePair>{{0, 7}});
  for (const bool semi_hard : {false, true}) {
    auto best = on_device<float>(nothing_offered(2));
    DeviceArray<double> number(std::vector<double>{0, 0}), factor(std::vector<double>{1});
    DeviceArray<double> chosen(std::vector<double>{-1}), value(1), slope(1);
    const NegativeChoices<float> choices{1, semi_hard, best.data(), number.data()};
    offer_rows({0, 1, 0, 3}, device_scores.data(), 0, 1, pair.data(), positive.data(), choices, nullptr);
    EXPECT_TRUE(std::isnan(best.values()[0]));
    chosen_terms(1, semi_hard, best.data(), positive.data(), factor.data(), kCosts[2], chosen.data(),
                 value.data(), slope.data(), nullptr);
    EXPECT_TRUE(std::isnan(value.values()[0]));
    EXPECT_EQ(chosen.values()[0], -1);
  }
}

TEST(PairsOnTheDevice, GoToTheirColumnsAndBack) {
  const std::vector<ScorePair> pairs{{0, 3}, {0, 1}, {1, 4}};
  DeviceArray<ScorePair> pair(pairs);
  auto score = on_device<float>({0.5, 0.25, -1}), column_score = on_device<float>(std::vector<double>(5, 0));
  const std::vector<double> zeros(5, 0);
  DeviceArray<double> weight(std::vector<double>{2, 3, 4}), column_weight(zeros), count(zeros);
  spread_pairs(3, pair.data(), score.data(), weight.data(), column_score.data(), column_weight.data(),
               count.data(), nullptr);
  EXPECT_EQ(column_score.doubles(), (std::vector<double>{0, 0.25, 0, 0.5, -1}));
  EXPECT_EQ(column_weight.values(), (std::vector<double>{0, 3, 0, 2, 4}));
  EXPECT_EQ(count.values(), (std::vector<double>{0, 1, 0, 1, 1}));

  DeviceArray<double> value(std::vector<double>{9, 1, 9, 2, 4}), slope(std::vector<double>{9, 8, 9, 16, 32});
  DeviceArray<double> gradient(std::vector<double>{1, 1, 1}), total(std::vector<double>{100});
  column_terms(3, pair.data(), weight.data(), count.data(), value.data(), slope.data(), gradient.data(),
               total.data(), nullptr);
  EXPECT_EQ(gradient.values(), (std::vector<double>{1 - 32, 1 - 24, 1 - 128}));
  EXPECT_EQ(total.values()[0], 100 + 4 + 3 + 16);
  DeviceArray<double> twice(std::vector<double>{0, 1, 0, 2, 1});
  column_terms(3, pair.data(), weight.data(), twice.data(), value.data(), slope.data(), gradient.data(),
               total.data(), nullptr);
  EXPECT_TRUE(std::isnan(total.values()[0]));
}

}  // namespace
}  // namespace toller
