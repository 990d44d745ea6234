// Rows, or strips of columns, are shared out to the threads; every sum has one order, whatever their number.
#include "device/cpu/probabilities.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "device/cpu/inner_product.h"
#include "device/cpu/vector_math.h"
#include "device/gaussian_distance.h"

namespace toller {
namespace {

/// Columns a strip, and rows whose terms are added in T before they go to the sum in double.
constexpr std::int64_t kStrip = 64, kStripRows = 64;
/// Numbers from which on a tile or a matrix is worth waking the other threads.
constexpr std::int64_t kParallel = 1 << 14;

/// Neighbouring columns of a tile that are in one list.
struct Run {
  std::int64_t list, begin, end;
};

std::vector<Run> runs_of(const ScoreTile& tile, const ColumnLists& lists) {
  std::vector<Run> runs;
  const double* number = lists.number + tile.column;
  for (std::int64_t begin = 0, end = 0; begin < tile.columns; begin = end) {
    while (end < tile.columns && number[end] == number[begin]) ++end;
    if (number[begin] > 0) runs.push_back({static_cast<std::int64_t>(number[begin]) - 1, begin, end});
  }
  return runs;
}

/// What the slopes of a tile are made of, in T.
template <class T>
struct TileSlopes {
  std::vector<Run> runs;
  std::vector<T> column, weight;
  const ProbabilitySlopes& slopes;
  const ScoreTile& tile;

  TileSlopes(const ScoreTile& tile_, const ProbabilitySlopes& slopes_)
      : runs(runs_of(tile_, slopes_.lists)), slopes(slopes_), tile(tile_) {
    const auto columns = static_cast<std::size_t>(tile.columns);
    column.resize(columns);
    weight.resize(columns);
    std::copy_n(slopes.column + tile.column, columns, column.begin());
    std::copy_n(slopes.lists.weight + tile.column, columns, weight.begin());
  }

  /// slope [columns] of the tile's row i.
  void of_row(std::int64_t i, const T* x, T* slope) const {
    const T factor = static_cast<T>(slopes.factor);
    const T* base = column.data();
#pragma omp simd
    for (std::int64_t m = 0; m < tile.columns; ++m) slope[m] = base[m] + factor * x[m];
    const double* of_list = slopes.row_list + (tile.row + i) * slopes.lists.lists;
    for (const Run& run : runs) {
      const T scale = static_cast<T>(slopes.factor * of_list[run.list]);
      for (std::int64_t m = run.begin; m < run.end; ++m) slope[m] -= scale * weight[m];
    }
  }
};

/// body(i, row, slope) for the tile's rows of x, with what TileSlopes makes of them.
template <class T, class Body>
void for_row_slopes(const ScoreTile& tile, const T* x, const ProbabilitySlopes& slopes, Body body) {
  const TileSlopes<T> of_tile(tile, slopes);
#pragma omp parallel if (tile.rows * tile.columns >= kParallel)
  {
    std::vector<T> slope(static_cast<std::size_t>(tile.columns));
#pragma omp for schedule(static)
    for (std::int64_t i = 0; i < tile.rows; ++i) {
      const T* row = x + i * tile.columns;
      of_tile.of_row(i, row, slope.data());
      body(i, row, slope.data());
    }
  }
}

}  // namespace

template <class T>
void cpu_probabilities(std::int64_t rows, std::int64_t columns, double inverse_temperature, const T* max,
                       const double* sum, T* scores) {
  const T inverse = static_cast<T>(inverse_temperature);
#pragma omp parallel for schedule(static) if (rows * columns >= kParallel)
  for (std::int64_t i = 0; i < rows; ++i) {
    T* row = scores + i * columns;
    const T shift = max[i] == -std::numeric_limits<T>::infinity() ? T{0} : max[i];
    const T share = sum[i] == 0 ? T{0} : static_cast<T>(1 / sum[i]);
#pragma omp simd
    for (std::int64_t m = 0; m < columns; ++m) row[m] = share * vector_exp((row[m] - shift) * inverse);
  }
}

template <class T>
void cpu_probability_moments(std::int64_t rows, std::int64_t columns, const T* x, double center,
                             double* row_square, double* column_sum) {
  const T middle = static_cast<T>(center);
#pragma omp parallel for schedule(static) if (rows * columns >= kParallel)
  for (std::int64_t i = 0; i < rows; ++i) {
    const T* row = x + i * columns;
    T squares = 0;
#pragma omp simd reduction(+ : squares)
    for (std::int64_t m = 0; m < columns; ++m) squares += (row[m] - middle) * (row[m] - middle);
    row_square[i] += static_cast<double>(squares);
  }
#pragma omp parallel for schedule(static) if (rows * columns >= kParallel)
  for (std::int64_t first = 0; first < columns; first += kStrip) {
    const std::int64_t width = std::min(kStrip, columns - first);
    for (std::int64_t top = 0; top < rows; top += kStripRows) {
      T sums[kStrip] = {};
      for (std::int64_t i = top; i < std::min(rows, top + kStripRows); ++i) {
        const T* row = x + i * columns + first;
#pragma omp simd
        for (std::int64_t m = 0; m < width; ++m) sums[m] += row[m] - middle;
      }
      for (std::int64_t m = 0; m < width; ++m) column_sum[first + m] += static_cast<double>(sums[m]);
    }
  }
}

template <class T>
void cpu_list_sums(const ScoreTile& tile, const T* x, const ColumnLists& lists, double* sums) {
  const std::vector<Run> runs = runs_of(tile, lists);
  const double* weight = lists.weight + tile.column;
#pragma omp parallel for schedule(static) if (tile.rows * tile.columns >= kParallel)
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    const T* row = x + i * tile.columns;
    for (const Run& run : runs) {
      double sum = 0;
      for (std::int64_t m = run.begin; m < run.end; ++m) sum += static_cast<double>(row[m]) * weight[m];
      sums[(tile.row + i) * lists.lists + run.list] += sum;
    }
  }
}

template <class T>
void cpu_mean_slopes(const ScoreTile& tile, const T* x, const ProbabilitySlopes& slopes, double* mean) {
  for_row_slopes(tile, x, slopes, [&](std::int64_t i, const T* row, const T* slope) {
    mean[tile.row + i] += static_cast<double>(inner_product<T>(tile.columns, row, slope));
  });
}

template <class T>
void cpu_probability_gradient(const ScoreTile& tile, const T* x, const ProbabilitySlopes& slopes,
                              const double* mean, double inverse_temperature, T* gradient) {
  for_row_slopes(tile, x, slopes, [&](std::int64_t i, const T* row, const T* slope) {
    T* to = gradient + i * tile.columns;
    const T middle = static_cast<T>(mean[tile.row + i]), inverse = static_cast<T>(inverse_temperature);
#pragma omp simd
    for (std::int64_t m = 0; m < tile.columns; ++m) to[m] = inverse * row[m] * (slope[m] - middle);
  });
}

void cpu_gaussian_distance(const GaussianMoments& moments, double* slope, double* value) {
  GaussianDistance distance(moments);
  for (std::int64_t m = 0; m < moments.columns; ++m) slope[m] = distance.add(m);
  *value = distance.value();
}

void cpu_gram(std::int64_t rows, std::int64_t n, double factor, const double* a, double* c) {
  if (n == 0) return;
  cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, n, rows, factor, a, n, 0.0, c, n);
#pragma omp parallel for schedule(dynamic) if (n * n >= kParallel)
  for (std::int64_t top = 0; top < n; top += kStrip) {
    for (std::int64_t left = 0; left <= top; left += kStrip) {
      for (std::int64_t i = top; i < std::min(n, top + kStrip); ++i) {
        for (std::int64_t j = left; j < std::min(i, left + kStrip); ++j) c[i * n + j] = c[j * n + i];
      }
    }
  }
}

void cpu_center_rows(std::int64_t rows, std::int64_t n, double* x) {
#pragma omp parallel for schedule(static) if (rows * n >= kParallel)
  for (std::int64_t i = 0; i < rows; ++i) {
    double* row = x + i * n;
    const double mean = cpu_inner_product(n, row, nullptr) / static_cast<double>(n);
#pragma omp simd
    for (std::int64_t j = 0; j < n; ++j) row[j] -= mean;
  }
}

void cpu_column_sums(std::int64_t rows, std::int64_t n, const double* x, double* sums) {
  std::fill_n(sums, n, 0.0);
#pragma omp parallel for schedule(static) if (rows * n >= kParallel)
  for (std::int64_t first = 0; first < n; first += kStrip) {
    const std::int64_t last = std::min(n, first + kStrip);
    for (std::int64_t i = 0; i < rows; ++i) {
#pragma omp simd
      for (std::int64_t j = first; j < last; ++j) sums[j] += x[i * n + j];
    }
  }
}

void cpu_add_to_rows(std::int64_t rows, std::int64_t n, double factor, const double* row, double* x) {
#pragma omp parallel for schedule(static) if (rows * n >= kParallel)
  for (std::int64_t i = 0; i < rows; ++i) {
#pragma omp simd
    for (std::int64_t j = 0; j < n; ++j) x[i * n + j] += factor * row[j];
  }
}

void cpu_divide_by_norm(std::int64_t n, double squared_norm, double* x) {
  const double factor = squared_norm == 0 ? 0 : 1 / std::sqrt(squared_norm);
#pragma omp parallel for simd schedule(static) if (n >= kParallel)
  for (std::int64_t i = 0; i < n; ++i) x[i] *= factor;
}

double cpu_inner_product(std::int64_t n, const double* a, const double* b) {
  if (b != nullptr) return inner_product<double>(n, a, b);
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) sum += a[i];
  return sum;
}

#define TOLLER_INSTANTIATE(T)                                                                            \
  template void cpu_probabilities(std::int64_t, std::int64_t, double, const T*, const double*, T*);      \
  template void cpu_probability_moments(std::int64_t, std::int64_t, const T*, double, double*, double*); \
  template void cpu_list_sums(const ScoreTile&, const T*, const ColumnLists&, double*);                  \
  template void cpu_mean_slopes(const ScoreTile&, const T*, const ProbabilitySlopes&, double*);          \
  template void cpu_probability_gradient(const ScoreTile&, const T*, const ProbabilitySlopes&,           \
                                         const double*, double, T*);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
