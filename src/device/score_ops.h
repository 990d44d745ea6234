// Kernels on a tile of scores, for losses over many candidates: online log-sum-exp by rows and by columns,
// and the gradient of a softmax. A tile is row-major and dense, s [rows, columns]; a pair that does not take
// part holds −∞. With z = s · inverse_temperature, a line (row or column) of scores is summed up by
//   max = the largest s, sum = Σ e^{z − max · inverse_temperature}   (−∞ and 0 when nothing takes part),
// so that differences are taken between scores, before the division by a small temperature. NaN stays NaN.
// Sums do not depend on the number of threads.
#pragma once

#include <cstdint>

namespace toller {

/// Adds the tile to max [rows] and sum [rows].
template <class T>
void add_row_statistics(std::int64_t rows, std::int64_t columns, const T* scores, T inverse_temperature,
                        T* max, double* sum);

/// Adds the tile to max [columns] and sum [columns].
template <class T>
void add_column_statistics(std::int64_t rows, std::int64_t columns, const T* scores, T inverse_temperature,
                           T* max, double* sum);

/// What turns a score into its part of the gradient, e^{(s − shift) · inverse_temperature + offset}, a line.
/// shift is finite; offset may be −∞ (no gradient).
template <class T>
struct SoftmaxLines {
  const T* shift = nullptr;
  const T* offset = nullptr;
};

/// Overwrites scores with the part of their row and, unless column_lines.shift is null, that of their column.
template <class T>
void softmax_gradient(std::int64_t rows, std::int64_t columns, T* scores, T inverse_temperature,
                      SoftmaxLines<T> row_lines, SoftmaxLines<T> column_lines);

}  // namespace toller
