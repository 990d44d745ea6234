// InfoNCE's value and gradients of the scores and the temperature from the device's kernels over several
// tiles, with plain loops for the matrix products, against the loss's definition in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "cuda/device_array.h"
#include "cuda/score_tiles.cuh"

namespace toller {
namespace {

constexpr std::int64_t kQueries = 23, kCandidates = 61, kDimension = 12;
constexpr std::int64_t kTileRows = 9, kTileColumns = 20;
const double kInfinity = std::numeric_limits<double>::infinity();

/// Unit vectors, rounded to T.
template <class T>
std::vector<double> unit_vectors(std::int64_t n, unsigned seed) {
  std::vector<double> x = random_numbers<float>(n * kDimension, seed);
  for (std::int64_t i = 0; i < n; ++i) {
    double square = 0;
    for (std::int64_t k = 0; k < kDimension; ++k) square += x[i * kDimension + k] * x[i * kDimension + k];
    for (std::int64_t k = 0; k < kDimension; ++k) x[i * kDimension + k] /= std::sqrt(square);
  }
  return rounded<T>(x);
}

/// A batch: one to three positives a query, some of them shared by queries, and up to three excluded columns.
template <class T>
struct Batch {
  std::vector<double> query = unit_vectors<T>(kQueries, 1), document = unit_vectors<T>(kCandidates, 2);
  std::vector<ScorePair> positive, excluded;
  std::vector<std::int64_t> positive_begin{0}, excluded_begin{0}, column_begin;
  std::vector<std::int32_t> column_order;
  std::vector<double> weight;  ///< of the positives
  double inverse;
  bool symmetric;

  Batch(double temperature, bool symmetric_)
      : inverse(std::exp(-rounded<float>({std::log(temperature)})[0])), symmetric(symmetric_) {
    for (std::int32_t i = 0; i < kQueries; ++i) {
      const std::int32_t positives = i % 3 + 1;
      for (std::int32_t k = 0; k < positives; ++k) {
        positive.push_back({i, static_cast<std::int32_t>((i / 2 * 5 + k * 21) % kCandidates)});
        weight.push_back((symmetric ? 0.5 : 1.0) / static_cast<double>(kQueries * positives));
      }
      for (std::int32_t k = 0; k < i % 4; ++k) {
        excluded.push_back({i, static_cast<std::int32_t>((i * 7 + k * 19 + 3) % kCandidates)});
      }
      positive_begin.push_back(static_cast<std::int64_t>(positive.size()));
      excluded_begin.push_back(static_cast<std::int64_t>(excluded.size()));
    }
    for (std::int32_t column = 0; column < kCandidates; ++column) {
      column_begin.push_back(static_cast<std::int64_t>(column_order.size()));
      for (std::size_t p = 0; p < positive.size(); ++p) {
        if (positive[p].column == column) column_order.push_back(static_cast<std::int32_t>(p));
      }
    }
    column_begin.push_back(static_cast<std::int64_t>(column_order.size()));
  }

  double score(std::int64_t i, std::int64_t j) const {
    double sum = 0;
    for (std::int64_t k = 0; k < kDimension; ++k) {
      sum += query[i * kDimension + k] * document[j * kDimension + k];
    }
    return sum;
  }
  bool negative(std::int64_t i, std::int64_t j) const {
    const auto is_pair = [&](const ScorePair& pair) { return pair.row == i && pair.column == j; };
    return std::ranges::none_of(positive, is_pair) && std::ranges::none_of(excluded, is_pair);
  }
};

/// Value, ∂/∂scores [kQueries, kCandidates], ∂/∂log temperature.
struct Result {
  double value = 0;
  std::vector<double> gradient = std::vector<double>(kQueries * kCandidates, 0.0);
  double log_temperature = 0;
};

/// Adds w softplus(log Σ_n e^{z_n} − z_p) of one positive and its negatives `line`.
template <class T>
void add_term(const Batch<T>& batch, const ScorePair& pair, double weight, const std::vector<ScorePair>& line,
              Result& result) {
  double highest = -kInfinity, sum = 0;
  for (const ScorePair& n : line) highest = std::max(highest, batch.score(n.row, n.column) * batch.inverse);
  for (const ScorePair& n : line) sum += std::exp(batch.score(n.row, n.column) * batch.inverse - highest);
  const double x = highest + std::log(sum) - batch.score(pair.row, pair.column) * batch.inverse;
  const double slope = weight / (1 + std::exp(-x));
  result.value += weight * (std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))));
  const auto add = [&](const ScorePair& at, double of_z) {
    result.gradient[at.row * kCandidates + at.column] += of_z * batch.inverse;
    result.log_temperature -= of_z * batch.score(at.row, at.column) * batch.inverse;
  };
  add(pair, -slope);
  for (const ScorePair& n : line) {
    add(n, slope * std::exp(batch.score(n.row, n.column) * batch.inverse - highest) / sum);
  }
}

template <class T>
Result brute_force(const Batch<T>& batch) {
  Result result;
  for (std::size_t p = 0; p < batch.positive.size(); ++p) {
    const ScorePair pair = batch.positive[p];
    std::vector<ScorePair> row, column;
    for (std::int32_t j = 0; j < kCandidates; ++j) {
      if (batch.negative(pair.row, j)) row.push_back({pair.row, j});
    }
    for (std::int32_t i = 0; i < kQueries; ++i) {
      if (batch.negative(i, pair.column)) column.push_back({i, pair.column});
    }
    add_term(batch, pair, batch.weight[p], row, result);
    if (batch.symmetric) add_term(batch, pair, batch.weight[p], column, result);
  }
  return result;
}

/// Statistics of lines on the device, with their weights and what becomes of them.
struct DeviceLines {
  std::int64_t count;
  DeviceArray<float> max, shift, offset;
  DeviceArray<double> sum, weight;

  explicit DeviceLines(std::int64_t count_)
      : count(count_), max(count), shift(count), offset(count), sum(count), weight(count) {
    reset_lines(count, max.data(), sum.data(), nullptr);
  }
  SoftmaxLines<float> from(std::int64_t line) { return {shift.data() + line, offset.data() + line}; }
};

/// The loss as InfoNce computes it, on the device but for the matrix products.
template <class T>
class DeviceInfoNce {
 public:
  explicit DeviceInfoNce(const Batch<T>& batch)
      : batch_(batch),
        positive_(batch.positive),
        excluded_(batch.excluded),
        weight_(batch.weight),
        positive_gradient_(std::vector<double>(batch.positive.size(), 0.0)),
        positive_score_(static_cast<std::int64_t>(batch.positive.size())) {
    const std::vector<double> log_temperature = {-std::log(batch.inverse)};
    invert_temperature(on_device<float>(log_temperature).data(), inverse_.data(), nullptr);
  }

  Result run() {
    add_statistics();
    DeviceArray<std::int64_t> row_begin(batch_.positive_begin), column_begin(batch_.column_begin);
    DeviceArray<std::int32_t> column_order(batch_.column_order);
    add_terms(rows_, row_begin.data(), nullptr);
    if (batch_.symmetric) add_terms(columns_, column_begin.data(), column_order.data());
    Result result;
    result.value = value_.values()[0];
    for (DeviceLines* lines : {&rows_, &columns_}) {
      if (lines == &columns_ && !batch_.symmetric) continue;
      softmax_lines(lines->count, inverse_.data(), lines->max.data(), lines->sum.data(), lines->weight.data(),
                    lines->shift.data(), lines->offset.data(), nullptr);
    }
    for_tiles([&](const ScoreTile& tile) { add_gradient(tile, result); });
    result.log_temperature = product_with_queries(result.gradient);
    return result;
  }

 private:
  template <class Body>
  void for_tiles(Body body) {
    for (std::int64_t row = 0; row < kQueries; row += kTileRows) {
      for (std::int64_t column = 0; column < kCandidates; column += kTileColumns) {
        body(ScoreTile{row, std::min(kTileRows, kQueries - row), column,
                       std::min(kTileColumns, kCandidates - column)});
      }
    }
  }

  /// The tile's scores, masked; the positives' go to positive_score_.
  DeviceArray<float> make_scores(const ScoreTile& tile) {
    std::vector<float> product;
    for (std::int64_t i = 0; i < tile.rows; ++i) {
      for (std::int64_t j = 0; j < tile.columns; ++j) {
        product.push_back(static_cast<float>(batch_.score(tile.row + i, tile.column + j)));
      }
    }
    return DeviceArray<float>(product);
  }
  void mask(const ScoreTile& tile, float* scores) {
    const std::int64_t first = batch_.positive_begin[tile.row];
    const std::int64_t positives = batch_.positive_begin[tile.row + tile.rows] - first;
    read_pairs(tile, positives, positive_.data() + first, scores, positive_score_.data() + first, nullptr);
    mask_pairs(tile, positives, positive_.data() + first, scores, nullptr);
    const std::int64_t first_excluded = batch_.excluded_begin[tile.row];
    mask_pairs(tile, batch_.excluded_begin[tile.row + tile.rows] - first_excluded,
               excluded_.data() + first_excluded, scores, nullptr);
  }

  void add_statistics() {
    for_tiles([&](const ScoreTile& tile) {
      auto scores = make_scores(tile);
      mask(tile, scores.data());
      DeviceArray<LinePart> workspace(std::max(row_statistics_workspace(tile.rows, tile.columns),
                                               column_statistics_workspace(tile.rows, tile.columns)));
      add_row_statistics(tile.rows, tile.columns, scores.data(), inverse_.data(), rows_.max.data() + tile.row,
                         rows_.sum.data() + tile.row, workspace.data(), nullptr);
      add_column_statistics(tile.rows, tile.columns, scores.data(), inverse_.data(),
                            columns_.max.data() + tile.column, columns_.sum.data() + tile.column,
                            workspace.data(), nullptr);
    });
  }

  void add_terms(DeviceLines& lines, const std::int64_t* begin, const std::int32_t* order) {
    DeviceArray<double> workspace(contrastive_terms_workspace(lines.count));
    contrastive_terms({.lines = {lines.count, begin, order},
                       .max = lines.max.data(),
                       .sum = lines.sum.data(),
                       .weight = weight_.data(),
                       .score = positive_score_.data(),
                       .line_weight = lines.weight.data(),
                       .gradient = positive_gradient_.data(),
                       .value = value_.data()},
                      inverse_.data(), workspace.data(), nullptr);
  }

  void add_gradient(const ScoreTile& tile, Result& result) {
    auto scores = make_scores(tile);
    mask(tile, scores.data());
    DeviceArray<T> gradient(tile.rows * tile.columns);
    softmax_gradient<T>(tile.rows, tile.columns, scores.data(), inverse_.data(), rows_.from(tile.row),
                        batch_.symmetric ? columns_.from(tile.column) : SoftmaxLines<float>{},
                        gradient.data(), nullptr);
    const std::int64_t first = batch_.positive_begin[tile.row];
    add_pair_gradients<T>(tile, batch_.positive_begin[tile.row + tile.rows] - first, positive_.data() + first,
                          positive_gradient_.data() + first, inverse_.data(), gradient.data(), nullptr);
    const std::vector<double> values = gradient.doubles();
    for (std::int64_t i = 0; i < tile.rows; ++i) {
      for (std::int64_t j = 0; j < tile.columns; ++j) {
        result.gradient[(tile.row + i) * kCandidates + tile.column + j] = values[i * tile.columns + j];
      }
    }
  }

  /// −⟨Q, G D⟩.
  double product_with_queries(const std::vector<double>& gradient) {
    std::vector<double> of_queries(batch_.query.size(), 0.0);
    for (std::int64_t i = 0; i < kQueries; ++i) {
      for (std::int64_t j = 0; j < kCandidates; ++j) {
        for (std::int64_t k = 0; k < kDimension; ++k) {
          of_queries[i * kDimension + k] +=
              gradient[i * kCandidates + j] * batch_.document[j * kDimension + k];
        }
      }
    }
    const auto n = static_cast<std::int64_t>(of_queries.size());
    DeviceArray<double> result(1), workspace(dot_workspace(n));
    dot<T>(n, on_device<T>(batch_.query).data(), on_device<float>(of_queries).data(), -1, result.data(),
           workspace.data(), nullptr);
    return result.values()[0];
  }

  const Batch<T>& batch_;
  DeviceArray<ScorePair> positive_, excluded_;
  DeviceArray<double> weight_, positive_gradient_;
  DeviceArray<float> positive_score_;
  DeviceArray<double> inverse_{1}, value_{std::vector<double>{0}};
  DeviceLines rows_{kQueries}, columns_{kCandidates};
};

/// A score in float is wrong by 2⁻²⁵, a difference of two by 2⁻²⁴, its exponent by that over the temperature.
/// What is added up is wrong by that besides kFloatError. Of single elements also those with exponents down
/// to −2 / temperature count, whose float arithmetic adds 8 · 2⁻²⁴ / temperature (score_tiles_test.cpp).
template <class T>
void compare(double temperature, bool symmetric) {
  SCOPED_TRACE(testing::Message() << "temperature " << temperature << (symmetric ? ", symmetric" : ""));
  const Batch<T> batch(temperature, symmetric);
  const Result reference = brute_force(batch), result = DeviceInfoNce<T>(batch).run();
  EXPECT_NEAR(result.value, reference.value, (kFloatError + 0x1p-24 / temperature) * reference.value);
  const double relative =
      2 * kFloatError + 10 * 0x1p-24 / temperature + (std::is_same_v<T, bfloat16> ? kBfloat16Error : 0);
  double sum_of_gradients = 0;
  for (std::size_t i = 0; i < reference.gradient.size(); ++i) {
    const double size = std::abs(reference.gradient[i]);
    ASSERT_NEAR(result.gradient[i], reference.gradient[i], relative * size + 1e-37) << "score " << i;
    sum_of_gradients += size;
  }
  EXPECT_NEAR(result.log_temperature, reference.log_temperature, relative * sum_of_gradients);
}

template <class T>
class InfoNceOnTheDevice : public testing::Test {};
TYPED_TEST_SUITE(InfoNceOnTheDevice, StorageTypes);

TYPED_TEST(InfoNceOnTheDevice, IsItsDefinition) {
  in_both_thread_orders([] {
    for (const double temperature : {0.01, 0.05, 1.0}) {
      for (const bool symmetric : {false, true}) compare<TypeParam>(temperature, symmetric);
    }
  });
}

}  // namespace
}  // namespace toller
