// Positives against negatives pair by pair: an exponential and a logarithm a pair, in vector loops.
#include <algorithm>
#include <cmath>
#include <limits>

#include "device/cpu/mann_whitney.h"
#include "device/cpu/vector_math.h"

namespace toller {
namespace {

constexpr std::int64_t kStrip = 64;
constexpr std::int64_t kParallelPairs = 1 << 14;

/// log(1 + x) for x in [0, 1], relative error 10⁻⁷: 2 artanh(x / (2 + x)).
inline float vector_log1p(float x) {
  const float z = x / (2.0f + x), square = z * z;
  float sum = 1.0f / 15;
  sum = sum * square + 1.0f / 13;
  sum = sum * square + 1.0f / 11;
  sum = sum * square + 1.0f / 9;
  sum = sum * square + 1.0f / 7;
  sum = sum * square + 1.0f / 5;
  sum = sum * square + 1.0f / 3;
  return 2 * z + 2 * z * square * sum;
}

inline double vector_log1p(double x) {
  return std::log1p(x);
}

/// e = e^{−|z|}.
template <class T>
inline T sigmoid_from(T z, T e) {
  return (z > T{0} ? T{1} : e) / (T{1} + e);
}

/// A positive against a row of negatives.
template <class T>
void add_row(std::int64_t columns, const T* scores, T positive, T inverse_temperature, double& value,
             double& slope, double& moment) {
  for (std::int64_t at = 0; at < columns; at += kStrip * kStrip) {
    const std::int64_t size = std::min(kStrip * kStrip, columns - at);
    T softplus = 0, sigmoid = 0, with_z = 0;
#pragma omp simd reduction(+ : softplus, sigmoid, with_z)
    for (std::int64_t j = 0; j < size; ++j) {
      const T z = (scores[at + j] - positive) * inverse_temperature;
      const T e = vector_exp(-std::fabs(z)), s = sigmoid_from(z, e);
      softplus += (z > T{0} ? z : T{0}) + vector_log1p(e);
      sigmoid += s;
      with_z += z == -std::numeric_limits<T>::infinity() ? T{0} : z * s;
    }
    value += static_cast<double>(softplus);
    slope += static_cast<double>(sigmoid);
    moment += static_cast<double>(with_z);
  }
}

}  // namespace

template <class T>
void add_positive_sums(const ScoreTile& tile, const T* scores, double inverse_temperature,
                       const PositiveSums<T>& sums) {
#pragma omp parallel for schedule(static) if (sums.positives * tile.columns >= kParallelPairs)
  for (std::int64_t p = 0; p < sums.positives; ++p) {
    const std::int64_t first = sums.pair != nullptr ? sums.pair[p].row - tile.row : 0;
    const std::int64_t last = sums.pair != nullptr ? first + 1 : tile.rows;
    for (std::int64_t i = first; i < last; ++i) {
      add_row(tile.columns, scores + i * tile.columns, sums.score[p], static_cast<T>(inverse_temperature),
              sums.value[p], sums.slope[p], sums.moment[p]);
    }
  }
}

template <class T>
void pairwise_gradient(std::int64_t rows, std::int64_t columns, const T* scores, double inverse_temperature,
                       std::int64_t positives, const std::int64_t* begin, const T* positive_score,
                       const double* weight, T* gradient) {
  const T inverse = static_cast<T>(inverse_temperature);
#pragma omp parallel for schedule(static) if (rows * columns >= kParallelPairs)
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::int64_t first = begin != nullptr ? begin[i] : 0;
    const std::int64_t last = begin != nullptr ? begin[i + 1] : positives;
    for (std::int64_t at = 0; at < columns; at += kStrip) {
      const std::int64_t size = std::min(kStrip, columns - at);
      const T* row = scores + i * columns + at;
      double sum[kStrip] = {};
      for (std::int64_t p = first; p < last; ++p) {
        const T positive = positive_score[p];
#pragma omp simd
        for (std::int64_t j = 0; j < size; ++j) {
          const T z = (row[j] - positive) * inverse;
          sum[j] += static_cast<double>(sigmoid_from(z, vector_exp(-std::fabs(z))));
        }
      }
      for (std::int64_t j = 0; j < size; ++j) {
        gradient[i * columns + at + j] = static_cast<T>(weight[i] * inverse_temperature * sum[j]);
      }
    }
  }
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
  template void add_positive_sums<T>(const ScoreTile&, const T*, double, const PositiveSums<T>&);        \
  template void pairwise_gradient<T>(std::int64_t, std::int64_t, const T*, double, std::int64_t,         \
                                     const std::int64_t*, const T*, const double*, T*);                  \
  template void pairwise_terms<T>(std::int64_t, const double*, const PositiveSums<T>&, double*, double*, \
                                  double*);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
