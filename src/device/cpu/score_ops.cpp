// Score tiles on the CPU: one exponential an element and direction, in vector loops (vector_math.h). Rows, or
// strips of columns, are shared out to the threads.
#include "device/score_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "device/cpu/vector_math.h"

namespace toller {
namespace {

/// Columns a strip: a strip's running values stay in registers while its rows pass.
constexpr std::int64_t kStrip = 64;
/// Rows whose terms are added in T before they go to the sum in double.
constexpr std::int64_t kStripRows = 64;

/// Scores from which on a tile is worth waking the other threads.
constexpr std::int64_t kParallelScores = 1 << 14;

template <class T>
constexpr T kNone = -std::numeric_limits<T>::infinity();

/// The maximum as a shift: an empty line is shifted by 0, since −∞ − (−∞) would be NaN.
template <class T>
T finite_shift(T max) {
  return max == kNone<T> ? T{0} : max;
}

/// Merges a part, whose terms are relative to `part_max`, into a line's statistics.
template <class T>
void merge(T part_max, double part_sum, T inverse_temperature, T& max, double& sum) {
  const T highest = part_max > max ? part_max : max;
  const double shift = static_cast<double>(finite_shift(highest));
  const auto rescaled = [&](T from, double value) {
    const double difference = static_cast<double>(finite_shift(from)) - shift;
    return from == highest || from == kNone<T>
               ? value
               : value * std::exp(difference * static_cast<double>(inverse_temperature));
  };
  sum = rescaled(max, sum) + rescaled(part_max, part_sum);
  max = highest;
}

template <class T>
void add_row(std::int64_t columns, const T* scores, T inverse_temperature, T& max, double& sum) {
  T highest = kNone<T>;
#pragma omp simd reduction(max : highest)
  for (std::int64_t j = 0; j < columns; ++j) highest = scores[j] > highest ? scores[j] : highest;
  const T shift = finite_shift(highest);
  T terms = 0;
#pragma omp simd reduction(+ : terms)
  for (std::int64_t j = 0; j < columns; ++j) terms += vector_exp((scores[j] - shift) * inverse_temperature);
  merge(highest, static_cast<double>(terms), inverse_temperature, max, sum);
}

/// Adds rows × kStrip scores at most; `columns` of them are there.
template <class T>
void add_strip(std::int64_t rows, std::int64_t columns, const T* scores, std::int64_t stride,
               T inverse_temperature, T* max, double* sum) {
  T highest[kStrip], shift[kStrip], terms[kStrip];
  std::fill_n(highest, kStrip, kNone<T>);
  std::fill_n(terms, kStrip, T{0});
  for (std::int64_t i = 0; i < rows; ++i) {
    const T* row = scores + i * stride;
#pragma omp simd
    for (std::int64_t j = 0; j < columns; ++j) highest[j] = row[j] > highest[j] ? row[j] : highest[j];
  }
  for (std::int64_t j = 0; j < columns; ++j) shift[j] = finite_shift(highest[j]);
  for (std::int64_t i = 0; i < rows; ++i) {
    const T* row = scores + i * stride;
#pragma omp simd
    for (std::int64_t j = 0; j < columns; ++j) {
      terms[j] += vector_exp((row[j] - shift[j]) * inverse_temperature);
    }
  }
  for (std::int64_t j = 0; j < columns; ++j) {
    merge(highest[j], static_cast<double>(terms[j]), inverse_temperature, max[j], sum[j]);
  }
}

}  // namespace

template <class T>
void add_row_statistics(std::int64_t rows, std::int64_t columns, const T* scores, T inverse_temperature,
                        T* max, double* sum) {
#pragma omp parallel for schedule(static) if (rows * columns >= kParallelScores)
  for (std::int64_t i = 0; i < rows; ++i) {
    add_row(columns, scores + i * columns, inverse_temperature, max[i], sum[i]);
  }
}

template <class T>
void add_column_statistics(std::int64_t rows, std::int64_t columns, const T* scores, T inverse_temperature,
                           T* max, double* sum) {
#pragma omp parallel for schedule(static) if (rows * columns >= kParallelScores)
  for (std::int64_t column = 0; column < columns; column += kStrip) {
    const std::int64_t width = std::min(kStrip, columns - column);
    for (std::int64_t row = 0; row < rows; row += kStripRows) {
      add_strip(std::min(kStripRows, rows - row), width, scores + row * columns + column, columns,
                inverse_temperature, max + column, sum + column);
    }
  }
}

template <class T>
void softmax_gradient(std::int64_t rows, std::int64_t columns, T* scores, T inverse_temperature,
                      SoftmaxLines<T> row_lines, SoftmaxLines<T> column_lines) {
#pragma omp parallel for schedule(static) if (rows * columns >= kParallelScores)
  for (std::int64_t i = 0; i < rows; ++i) {
    T* row = scores + i * columns;
    const T shift = row_lines.shift[i], offset = row_lines.offset[i];
    if (column_lines.shift == nullptr) {
#pragma omp simd
      for (std::int64_t j = 0; j < columns; ++j) {
        row[j] = vector_exp((row[j] - shift) * inverse_temperature + offset);
      }
    } else {
      const T *column_shift = column_lines.shift, *column_offset = column_lines.offset;
#pragma omp simd
      for (std::int64_t j = 0; j < columns; ++j) {
        row[j] = vector_exp((row[j] - shift) * inverse_temperature + offset) +
                 vector_exp((row[j] - column_shift[j]) * inverse_temperature + column_offset[j]);
      }
    }
  }
}

#define TOLLER_INSTANTIATE(T)                                                                   \
  template void add_row_statistics<T>(std::int64_t, std::int64_t, const T*, T, T*, double*);    \
  template void add_column_statistics<T>(std::int64_t, std::int64_t, const T*, T, T*, double*); \
  template void softmax_gradient<T>(std::int64_t, std::int64_t, T*, T, SoftmaxLines<T>, SoftmaxLines<T>);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
