// Tiles of scores against plain loops in double. Float's unit roundoff is u = 2⁻²⁴.
//
// An exponent (s − shift) k log₂e + offset log₂e in float has a relative error of each part below 4 u, so a
// term e^x is wrong by less than (4 |x| + 4 |offset| + 8) u of itself, 8 for exp2f (2 units in the last
// place, each up to 2 u) and the rest. In a sum of terms up to 1, one of which is 1, |x| e^x stays below what
// 5 |x| would add at the few x near 0; with 33 additions in float that is kFloatError (1e-5, 168 u) of the
// sum.
#include "cuda/score_tiles.cuh"

#include <gtest/gtest.h>

#include <cmath>

#include "cuda/device_array.h"

namespace toller {
namespace {

const double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kRoundoff = 0x1p-24;

/// A tile of cosines, one in `mask_every` of them −∞.
std::vector<double> random_scores(std::int64_t rows, std::int64_t columns, unsigned seed,
                                  int mask_every = 5) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> cosine(-1, 1);
  std::vector<double> scores(static_cast<std::size_t>(rows * columns));
  for (double& score : scores) {
    score = cosine(generator);
    if (generator() % mask_every == 0) score = -kInfinity;
  }
  return rounded<float>(scores);
}

/// Statistics of lines, and how a kernel changes them.
struct Statistics {
  std::vector<double> max, sum;

  explicit Statistics(std::int64_t lines) : max(lines, -kInfinity), sum(lines, 0.0) {}

  /// The line gets more scores.
  void add(std::size_t line, const std::vector<double>& scores, double inverse) {
    double highest = max[line];
    for (const double score : scores) highest = std::max(highest, score);  // leaves NaN out
    if (highest == -kInfinity) {
      for (const double score : scores) sum[line] += std::isnan(score) ? score : 0;
      return;
    }
    if (max[line] != -kInfinity) sum[line] *= std::exp((max[line] - highest) * inverse);
    for (const double score : scores) sum[line] += std::exp((score - highest) * inverse);
    max[line] = highest;
  }
};

enum class By { kRows, kColumns };

std::int64_t lines_of(By by, std::int64_t rows, std::int64_t columns) {
  return by == By::kRows ? rows : columns;
}

void add_reference(By by, std::int64_t rows, std::int64_t columns, const std::vector<double>& scores,
                   double inverse, Statistics& statistics) {
  for (std::int64_t line = 0; line < lines_of(by, rows, columns); ++line) {
    std::vector<double> of_line;
    for (std::int64_t i = 0; i < (by == By::kRows ? columns : rows); ++i) {
      of_line.push_back(scores[by == By::kRows ? line * columns + i : i * columns + line]);
    }
    statistics.add(line, of_line, inverse);
  }
}

/// The device's statistics of lines.
struct DeviceStatistics {
  By by;
  DeviceArray<float> max;
  DeviceArray<double> sum;

  DeviceStatistics(By by_, std::int64_t lines) : by(by_), max(lines), sum(lines) {
    reset_lines(lines, max.data(), sum.data(), nullptr);
  }
  void add(std::int64_t rows, std::int64_t columns, const float* scores, double inverse) {
    DeviceArray<double> factor(std::vector<double>{inverse});
    DeviceArray<LinePart> workspace(by == By::kRows ? row_statistics_workspace(rows, columns)
                                                    : column_statistics_workspace(rows, columns));
    if (by == By::kRows) {
      add_row_statistics(rows, columns, scores, factor.data(), max.data(), sum.data(), workspace.data(),
                         nullptr);
    } else {
      add_column_statistics(rows, columns, scores, factor.data(), max.data(), sum.data(), workspace.data(),
                            nullptr);
    }
  }
};

void expect_statistics(const DeviceStatistics& device, const Statistics& reference) {
  EXPECT_EQ(device.max.doubles(), reference.max);
  const std::vector<double> sums = device.sum.values();
  ASSERT_EQ(sums.size(), reference.sum.size());
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (std::isnan(reference.sum[i])) {
      ASSERT_TRUE(std::isnan(sums[i])) << "line " << i << " has " << sums[i];
    } else {
      ASSERT_NEAR(sums[i], reference.sum[i], kFloatError * reference.sum[i]) << "line " << i;
    }
  }
}

/// Two tiles one after the other, the second with other scores; `offset` floats off a vector's alignment.
void compare_statistics(By by, std::int64_t rows, std::int64_t columns, double temperature,
                        std::int64_t offset) {
  SCOPED_TRACE(testing::Message() << rows << " × " << columns << ", temperature " << temperature
                                  << ", offset " << offset);
  const double inverse = 1 / temperature;
  Statistics reference(lines_of(by, rows, columns));
  DeviceStatistics device(by, lines_of(by, rows, columns)), again(by, lines_of(by, rows, columns));
  for (const unsigned seed : {1u, 2u}) {
    const std::vector<double> scores = random_scores(rows, columns, seed);
    std::vector<double> padded(offset);
    padded.insert(padded.end(), scores.begin(), scores.end());
    auto device_scores = on_device<float>(padded);
    add_reference(by, rows, columns, scores, inverse, reference);
    device.add(rows, columns, device_scores.data() + offset, inverse);
    again.add(rows, columns, device_scores.data() + offset, inverse);
    EXPECT_EQ(device_scores.doubles(), padded);
  }
  expect_statistics(device, reference);
  EXPECT_EQ(device.sum.values(), again.sum.values());
}

struct Shape {
  std::int64_t rows, columns;
};

class StatisticsOnTheDevice : public testing::TestWithParam<By> {};
INSTANTIATE_TEST_SUITE_P(Lines, StatisticsOnTheDevice, testing::Values(By::kRows, By::kColumns),
                         [](const auto& info) { return info.param == By::kRows ? "Rows" : "Columns"; });

TEST_P(StatisticsOnTheDevice, ArePlainLoops) {
  in_both_thread_orders([] {
    for (const Shape& shape : std::vector<Shape>{{1, 1}, {3, 5}, {9, 32}, {8, 132}, {65, 129}, {14, 1028}}) {
      for (const double temperature : {0.005, 0.07, 1.0}) {
        for (const std::int64_t offset : {0, 1}) {
          compare_statistics(GetParam(), shape.rows, shape.columns, temperature, offset);
        }
      }
    }
  });
}

TEST_P(StatisticsOnTheDevice, AreMergedFromSeveralBlocks) {
  in_both_thread_orders([] {
    const std::vector<Shape> long_rows = {{2, 8192}, {3, 8196}, {2, 17'003}};
    const std::vector<Shape> long_columns = {{256, 4}, {257, 5}, {530, 36}};
    for (const Shape& shape : GetParam() == By::kRows ? long_rows : long_columns) {
      compare_statistics(GetParam(), shape.rows, shape.columns, 0.02, 0);
    }
  });
}

TEST_P(StatisticsOnTheDevice, OfNothingAreLeftAlone) {
  DeviceStatistics device(GetParam(), 4);
  DeviceArray<float> no_scores(0);
  device.add(GetParam() == By::kRows ? 4 : 0, GetParam() == By::kRows ? 0 : 4, no_scores.data(), 20);
  expect_statistics(device, Statistics(4));
}

/// A square tile with a line of −∞ and a line of equal scores, by rows and by columns.
TEST_P(StatisticsOnTheDevice, KnowEmptyLinesAndTies) {
  constexpr std::int64_t kSize = 300;
  for (const double inverse : {1.0, 200.0}) {
    std::vector<double> scores = random_scores(kSize, kSize, 3);
    for (std::int64_t i = 0; i < kSize; ++i) {
      const bool by_rows = GetParam() == By::kRows;
      scores[by_rows ? 7 * kSize + i : i * kSize + 7] = -kInfinity;
      scores[by_rows ? 9 * kSize + i : i * kSize + 9] = -0.625;
    }
    Statistics reference(kSize);
    add_reference(GetParam(), kSize, kSize, scores, inverse, reference);
    DeviceStatistics device(GetParam(), kSize);
    device.add(kSize, kSize, on_device<float>(scores).data(), inverse);
    expect_statistics(device, reference);
    EXPECT_EQ(device.max.values()[7], -std::numeric_limits<float>::infinity());
    EXPECT_EQ(device.sum.values()[7], 0);
    EXPECT_EQ(device.sum.values()[9], kSize);
    // A line that was empty takes its first scores, one that was not keeps them where nothing is added.
    scores.assign(kSize * kSize, -kInfinity);
    scores[7 * kSize + 7] = 0.5;
    add_reference(GetParam(), kSize, kSize, scores, inverse, reference);
    device.add(kSize, kSize, on_device<float>(scores).data(), inverse);
    expect_statistics(device, reference);
    EXPECT_EQ(device.sum.values()[7], 1);
  }
}

TEST_P(StatisticsOnTheDevice, KeepNan) {
  constexpr std::int64_t kSize = 270;
  std::vector<double> scores = random_scores(kSize, kSize, 4);
  scores[5 * kSize + 5] = std::nan("");
  for (std::int64_t i = 0; i < kSize; ++i) {  // nothing else in this row or column
    scores[(GetParam() == By::kRows ? 260 * kSize + i : i * kSize + 260)] = -kInfinity;
  }
  scores[260 * kSize + 260] = std::nan("");
  Statistics reference(kSize);
  add_reference(GetParam(), kSize, kSize, scores, 20, reference);
  DeviceStatistics device(GetParam(), kSize);
  device.add(kSize, kSize, on_device<float>(scores).data(), 20);
  const std::vector<double> more = random_scores(kSize, kSize, 5);
  for (const bool first : {true, false}) {
    expect_statistics(device, reference);
    for (std::int64_t i = 0; i < kSize; ++i) {
      EXPECT_EQ(std::isnan(device.sum.values()[i]), i == 5 || i == 260) << i;
    }
    if (!first) break;
    add_reference(GetParam(), kSize, kSize, more, 20, reference);
    device.add(kSize, kSize, on_device<float>(more).data(), 20);
  }
}

/// Shifts near the largest score, so that no exponent is beyond 0.1 / temperature.
std::vector<double> random_shifts(std::int64_t n, unsigned seed) {
  std::vector<double> shifts = random_scores(n, 1, seed, std::numeric_limits<int>::max());
  for (double& shift : shifts) shift = 0.95 + 0.05 * shift;
  return rounded<float>(shifts);
}

/// Offsets, every ninth of which lets no gradient through.
std::vector<double> random_offsets(std::int64_t n, unsigned seed) {
  std::vector<double> offsets = random_numbers<float>(n, seed, -8);
  for (std::size_t i = 4; i < offsets.size(); i += 9) offsets[i] = -kInfinity;
  return offsets;
}

struct Lines {
  std::vector<double> shift, offset;
  DeviceArray<float> device_shift, device_offset;

  Lines(std::int64_t n, unsigned seed)
      : shift(random_shifts(n, seed)),
        offset(random_offsets(n, seed + 1)),
        device_shift(to_storage<float>(shift)),
        device_offset(to_storage<float>(offset)) {}

  /// Of lines `first` on; null where they are not wanted.
  SoftmaxLines<float> from(bool wanted, std::int64_t first) {
    return wanted ? SoftmaxLines<float>{device_shift.data() + first, device_offset.data() + first}
                  : SoftmaxLines<float>{};
  }
  /// A score's part and how wrong it may be.
  void add_part(std::int64_t line, double score, double inverse, double& part, double& bound) const {
    const double x = (score - shift[line]) * inverse, term = std::exp(x + offset[line]);
    part += term;
    if (term > 0) bound += (4 * std::abs(x) + 4 * std::abs(offset[line]) + 8) * kRoundoff * term;
  }
};

/// The gradient of a tile whose columns begin at column `first` of the lines (so a column's lines may not be
/// aligned).
template <class T>
void compare_gradient(const Shape& shape, double temperature, bool by_rows, bool by_columns,
                      std::int64_t first) {
  SCOPED_TRACE(testing::Message() << shape.rows << " × " << shape.columns << ", temperature " << temperature
                                  << (by_rows ? ", rows" : "") << (by_columns ? ", columns" : "")
                                  << ", first column " << first);
  const std::int64_t n = shape.rows * shape.columns;
  const double inverse = 1 / temperature;
  const std::vector<double> scores = random_scores(shape.rows, shape.columns, 1);
  Lines rows(shape.rows, 2), columns(shape.columns + first, 4);
  auto device_scores = on_device<float>(scores);
  DeviceArray<T> gradient(n);
  DeviceArray<double> factor(std::vector<double>{inverse});
  softmax_gradient<T>(shape.rows, shape.columns, device_scores.data(), factor.data(), rows.from(by_rows, 0),
                      columns.from(by_columns, first), gradient.data(), nullptr);
  EXPECT_EQ(device_scores.doubles(), scores);
  const std::vector<double> result = gradient.doubles();
  for (std::int64_t i = 0; i < n; ++i) {
    double reference = 0, bound = 0;
    if (by_rows) rows.add_part(i / shape.columns, scores[i], inverse, reference, bound);
    if (by_columns) columns.add_part(i % shape.columns + first, scores[i], inverse, reference, bound);
    if (std::is_same_v<T, bfloat16>) bound += kBfloat16Error * reference;
    bound += 1e-37;  // below the normal numbers
    if (scores[i] == -kInfinity) bound = 0;
    ASSERT_LE(std::abs(result[i] - reference), bound) << i << ": " << result[i] << ", not " << reference;
  }
  if constexpr (std::is_same_v<T, float>) {  // in place, and the same bits
    softmax_gradient<float>(shape.rows, shape.columns, device_scores.data(), factor.data(),
                            rows.from(by_rows, 0), columns.from(by_columns, first), device_scores.data(),
                            nullptr);
    EXPECT_EQ(device_scores.doubles(), result);
  }
}

template <class T>
class ScoreTilesOnTheDevice : public testing::Test {};
TYPED_TEST_SUITE(ScoreTilesOnTheDevice, StorageTypes);

TYPED_TEST(ScoreTilesOnTheDevice, HaveTheGradientOfPlainLoops) {
  for (const Shape& shape : std::vector<Shape>{{1, 1}, {3, 5}, {9, 32}, {8, 132}, {65, 129}, {70, 1028}}) {
    for (const double temperature : {0.005, 0.07, 1.0}) {
      for (const std::int64_t first : {0, 1}) {
        compare_gradient<TypeParam>(shape, temperature, true, true, first);
      }
      compare_gradient<TypeParam>(shape, temperature, true, false, 0);
      compare_gradient<TypeParam>(shape, temperature, false, true, 0);
      compare_gradient<TypeParam>(shape, temperature, false, false, 0);
    }
  }
}

TYPED_TEST(ScoreTilesOnTheDevice, HaveNanGradientsWhereScoresAreNan) {
  using T = TypeParam;
  std::vector<double> scores = random_scores(2, 8, 1);
  scores[11] = std::nan("");
  Lines rows(2, 2), columns(8, 4);
  DeviceArray<T> gradient(16);
  DeviceArray<double> factor(std::vector<double>{20});
  softmax_gradient<T>(2, 8, on_device<float>(scores).data(), factor.data(), rows.from(true, 0),
                      columns.from(true, 0), gradient.data(), nullptr);
  for (std::int64_t i = 0; i < 16; ++i) EXPECT_EQ(std::isnan(gradient.doubles()[i]), i == 11) << i;
}

/// Pairs in and around a tile at (20, 1000) of 40 × 37 scores, sorted by row.
const ScoreTile kTile{.row = 20, .rows = 40, .column = 1000, .columns = 37};
std::vector<ScorePair> pairs_around_tile() {
  std::vector<ScorePair> pairs;
  for (std::int32_t row = 15; row < 65; ++row) {
    for (std::int32_t i = 0; i < row % 4 + 6; ++i) pairs.push_back({row, 990 + (row * 5 + i * 13) % 57});
  }
  for (const std::int32_t row : {20, 59}) {
    pairs.push_back({row, 999});
    pairs.push_back({row, 1037});
  }
  return pairs;
}

/// Place in the tile, or −1.
std::int64_t place_of(const ScorePair& pair) {
  const std::int64_t row = pair.row - kTile.row, column = pair.column - kTile.column;
  const bool inside = row >= 0 && row < kTile.rows && column >= 0 && column < kTile.columns;
  return inside ? row * kTile.columns + column : -1;
}

TEST(ScorePairsOnTheDevice, AreReadAndMasked) {
  const std::vector<ScorePair> pairs = pairs_around_tile();
  const auto count = static_cast<std::int64_t>(pairs.size());
  ASSERT_GT(count, 300);  // more than a block
  DeviceArray<ScorePair> device_pairs(pairs);
  std::vector<double> scores = random_scores(kTile.rows, kTile.columns, 1);
  auto device_scores = on_device<float>(scores);
  DeviceArray<float> kept(count);
  read_pairs(kTile, count, device_pairs.data(), device_scores.data(), kept.data(), nullptr);
  EXPECT_EQ(device_scores.doubles(), scores);
  mask_pairs(kTile, count, device_pairs.data(), device_scores.data(), nullptr);
  const std::vector<double> result = kept.doubles(), original = scores;
  std::int64_t inside = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t place = place_of(pairs[i]);
    if (place < 0) {
      EXPECT_TRUE(std::isnan(result[i]));  // left alone
    } else {
      EXPECT_EQ(result[i], original[place]);
      scores[place] = -kInfinity;
      ++inside;
    }
  }
  EXPECT_GT(inside, 100);
  EXPECT_LT(inside, count - 50);
  EXPECT_EQ(device_scores.doubles(), scores);
  read_pairs(kTile, 0, nullptr, nullptr, nullptr, nullptr);
  mask_pairs(kTile, 0, nullptr, nullptr, nullptr);
}

TEST(ScorePairsOnTheDevice, AreShifted) {
  const std::vector<ScorePair> pairs = pairs_around_tile();
  const auto count = static_cast<std::int64_t>(pairs.size());
  DeviceArray<ScorePair> device_pairs(pairs);
  std::vector<double> scores = random_scores(kTile.rows, kTile.columns, 1);
  auto device_scores = on_device<float>(scores);
  shift_pairs(kTile, count, device_pairs.data(), -0.25f, device_scores.data(), nullptr);
  shift_pairs(kTile, 0, nullptr, 1, nullptr, nullptr);
  for (const ScorePair& pair : pairs) {
    const std::int64_t place = place_of(pair);
    if (place >= 0) scores[place] -= 0.25;  // −∞ stays
  }
  EXPECT_EQ(device_scores.doubles(), rounded<float>(scores));
}

TYPED_TEST(ScoreTilesOnTheDevice, TakeThePairsGradients) {
  using T = TypeParam;
  const std::vector<ScorePair> pairs = pairs_around_tile();
  const auto count = static_cast<std::int64_t>(pairs.size());
  DeviceArray<ScorePair> device_pairs(pairs);
  const std::vector<double> pair_gradient = random_numbers<float>(count, 1);
  std::vector<double> gradient = random_numbers<T>(kTile.rows * kTile.columns, 2);
  DeviceArray<double> device_pair_gradient(pair_gradient), factor(std::vector<double>{12.5});
  auto device_gradient = on_device<T>(gradient);
  add_pair_gradients<T>(kTile, count, device_pairs.data(), device_pair_gradient.data(), factor.data(),
                        device_gradient.data(), nullptr);
  add_pair_gradients<T>(kTile, 0, nullptr, nullptr, nullptr, device_gradient.data(), nullptr);
  std::vector<double> bound(gradient.size(), 0.0);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t place = place_of(pairs[i]);
    if (place < 0) continue;
    const double added = 12.5 * pair_gradient[i];
    gradient[place] += added;
    bound[place] = kRoundoff * (std::abs(added) + std::abs(gradient[place])) +
                   (std::is_same_v<T, bfloat16> ? kBfloat16Error * std::abs(gradient[place]) : 0);
  }
  const std::vector<double> result = device_gradient.doubles();
  for (std::size_t i = 0; i < result.size(); ++i) ASSERT_NEAR(result[i], gradient[i], bound[i]) << i;
}

}  // namespace
}  // namespace toller
