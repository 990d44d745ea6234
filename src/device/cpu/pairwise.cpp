// Positives against negatives pair by pair: an exponential and a logarithm a pair, in vector loops.
#include "device/cpu/pairwise.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "device/cpu/pair_math.h"

namespace toller {
namespace {

constexpr std::int64_t kStrip = 64;
/// Rows whose terms are added in T before they go to the sum in double.
constexpr std::int64_t kStripRows = 64;
constexpr std::int64_t kParallelPairs = 1 << 14;

/// A positive against a row of negatives.
template <class T, class Cost>
void add_row(std::int64_t columns, const T* scores, T positive, T inverse_temperature, const Cost& cost,
             double& value, double& slope, double& moment) {
  for (std::int64_t at = 0; at < columns; at += kStrip * kStrip) {
    const std::int64_t size = std::min(kStrip * kStrip, columns - at);
    T values = 0, slopes = 0, with_z = 0;
#pragma omp simd reduction(+ : values, slopes, with_z)
    for (std::int64_t j = 0; j < size; ++j) {
      const T z = (scores[at + j] - positive) * inverse_temperature;
      const CostAndSlope<T> pair = cost(z);
      values += pair.value;
      slopes += pair.slope;
      with_z += z == -std::numeric_limits<T>::infinity() ? T{0} : z * pair.slope;
    }
    value += static_cast<double>(values);
    slope += static_cast<double>(slopes);
    moment += static_cast<double>(with_z);
  }
}

/// Up to kStripRows rows and kStrip columns; sets `value` and `slope` [columns] where there is a positive.
template <class T, class Cost>
void add_strip(std::int64_t rows, std::int64_t columns, const T* scores, std::int64_t stride,
               const T* positive, T inverse_temperature, const Cost& cost, T* value, T* slope) {
  std::fill_n(value, columns, T{0});
  std::fill_n(slope, columns, T{0});
  for (std::int64_t i = 0; i < rows; ++i) {
#pragma omp simd
    for (std::int64_t j = 0; j < columns; ++j) {
      const CostAndSlope<T> pair = cost((scores[i * stride + j] - positive[j]) * inverse_temperature);
      value[j] += pair.value;
      slope[j] += pair.slope;
    }
  }
}

/// A row's scores in up to kStrip columns from `column` on: sum [columns] += the slopes with its positives
/// first … last.
template <class T, class Cost>
void add_row_slopes(std::int64_t column, std::int64_t columns, const T* scores, T inverse_temperature,
                    const Cost& cost, const RowPositives<T>& rows, std::int64_t first, std::int64_t last,
                    double* sum) {
  for (std::int64_t p = first; p < last; ++p) {
    const T positive = rows.score[p];
    if (rows.chosen == nullptr) {
#pragma omp simd
      for (std::int64_t j = 0; j < columns; ++j) {
        sum[j] += static_cast<double>(cost((scores[j] - positive) * inverse_temperature).slope);
      }
      continue;
    }
    const std::int64_t j = static_cast<std::int64_t>(rows.chosen[p]) - column;
    if (j >= 0 && j < columns) {
      sum[j] += static_cast<double>(cost((scores[j] - positive) * inverse_temperature).slope);
    }
  }
}

/// The scores of `query` in up to kStrip columns from `column` on: sum [columns] += weight times the slope
/// with the column's positive.
template <class T, class Cost>
void add_column_slopes(std::int64_t query, std::int64_t column, std::int64_t columns, const T* scores,
                       T inverse_temperature, const Cost& cost, const ColumnPositives<T>& positives,
                       double* sum) {
  const T* positive = positives.score + column;
  const double* weight = positives.weight + column;
  for (std::int64_t j = 0; j < columns; ++j) {
    if (weight[j] == 0) continue;
    if (positives.chosen != nullptr && positives.chosen[column + j] != static_cast<double>(query)) continue;
    sum[j] += weight[j] * static_cast<double>(cost((scores[j] - positive[j]) * inverse_temperature).slope);
  }
}

}  // namespace

template <class T>
void add_positive_sums(const ScoreTile& tile, const T* scores, double inverse_temperature,
                       const PairCost& cost, const PositiveSums<T>& sums) {
  with_pair_cost<CpuPairMath>(cost, [&](const auto& function) {
#pragma omp parallel for schedule(static) if (sums.positives * tile.columns >= kParallelPairs)
    for (std::int64_t p = 0; p < sums.positives; ++p) {
      const std::int64_t first = sums.pair != nullptr ? sums.pair[p].row - tile.row : 0;
      const std::int64_t last = sums.pair != nullptr ? first + 1 : tile.rows;
      for (std::int64_t i = first; i < last; ++i) {
        add_row(tile.columns, scores + i * tile.columns, sums.score[p], static_cast<T>(inverse_temperature),
                function, sums.value[p], sums.slope[p], sums.moment[p]);
      }
    }
  });
}

template <class T>
void add_column_sums(const ScoreTile& tile, const T* scores, double inverse_temperature, const PairCost& cost,
                     const ColumnPositives<T>& positives, double* value, double* slope) {
  with_pair_cost<CpuPairMath>(cost, [&](const auto& function) {
#pragma omp parallel for schedule(static) if (tile.rows * tile.columns >= kParallelPairs)
    for (std::int64_t at = 0; at < tile.columns; at += kStrip) {
      const std::int64_t size = std::min(kStrip, tile.columns - at), first = tile.column + at;
      T values[kStrip], slopes[kStrip];
      for (std::int64_t row = 0; row < tile.rows; row += kStripRows) {
        add_strip(std::min(kStripRows, tile.rows - row), size, scores + row * tile.columns + at, tile.columns,
                  positives.score + first, static_cast<T>(inverse_temperature), function, values, slopes);
        for (std::int64_t j = 0; j < size; ++j) {
          if (positives.weight[first + j] == 0) continue;
          value[first + j] += static_cast<double>(values[j]);
          slope[first + j] += static_cast<double>(slopes[j]);
        }
      }
    }
  });
}

template <class T>
void pairwise_gradient(const ScoreTile& tile, const T* scores, double inverse_temperature,
                       const PairCost& cost, const RowPositives<T>& rows, const ColumnPositives<T>& columns,
                       T* gradient) {
  const T inverse = static_cast<T>(inverse_temperature);
  with_pair_cost<CpuPairMath>(cost, [&](const auto& function) {
#pragma omp parallel for schedule(static) if (tile.rows * tile.columns >= kParallelPairs)
    for (std::int64_t i = 0; i < tile.rows; ++i) {
      const std::int64_t row = tile.row + i;
      const std::int64_t first = rows.begin != nullptr ? rows.begin[row] : 0;
      const std::int64_t last = rows.begin != nullptr ? rows.begin[row + 1] : rows.positives;
      for (std::int64_t at = 0; at < tile.columns; at += kStrip) {
        const std::int64_t size = std::min(kStrip, tile.columns - at), column = tile.column + at;
        const T* strip = scores + i * tile.columns + at;
        double sum[kStrip] = {};
        add_row_slopes(column, size, strip, inverse, function, rows, first, last, sum);
        for (std::int64_t j = 0; j < size; ++j) sum[j] *= rows.weight[row];
        if (columns.score != nullptr) {
          add_column_slopes(columns.first_query + row, column, size, strip, inverse, function, columns, sum);
        }
        for (std::int64_t j = 0; j < size; ++j) {
          gradient[i * tile.columns + at + j] = static_cast<T>(inverse_temperature * sum[j]);
        }
      }
    }
  });
}

template <class T>
void pairwise_terms(std::int64_t n, const double* weight, const PositiveSums<T>& sums, double* gradient,
                    double* value, double* log_temperature) {
  double total = 0, moment = 0;
  for (std::int64_t p = 0; p < n; ++p) {
    gradient[p] = -weight[p] * sums.slope[p];
    total += weight[p] * sums.value[p];
    moment += weight[p] * sums.moment[p];
  }
  *value = total;
  *log_temperature = -moment;
}

#define TOLLER_INSTANTIATE(T)                                                                            \
  template void add_positive_sums<T>(const ScoreTile&, const T*, double, const PairCost&,                \
                                     const PositiveSums<T>&);                                            \
  template void add_column_sums<T>(const ScoreTile&, const T*, double, const PairCost&,                  \
                                   const ColumnPositives<T>&, double*, double*);                         \
  template void pairwise_gradient<T>(const ScoreTile&, const T*, double, const PairCost&,                \
                                     const RowPositives<T>&, const ColumnPositives<T>&, T*);             \
  template void pairwise_terms<T>(std::int64_t, const double*, const PositiveSums<T>&, double*, double*, \
                                  double*);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
