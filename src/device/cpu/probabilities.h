// Rows of scores as probabilities, and dense matrices in double, on the CPU (ScoreOps).
#pragma once

#include <cstdint>

#include "device/score_ops.h"

namespace toller {

template <class T>
void cpu_probabilities(std::int64_t rows, std::int64_t columns, double inverse_temperature, const T* max,
                       const double* sum, T* scores);
template <class T>
void cpu_probability_moments(std::int64_t rows, std::int64_t columns, const T* x, double center,
                             double* row_square, double* column_sum);
template <class T>
void cpu_list_sums(const ScoreTile& tile, const T* x, const ColumnLists& lists, double* sums);
template <class T>
void cpu_mean_slopes(const ScoreTile& tile, const T* x, const ProbabilitySlopes& slopes, double* mean);
template <class T>
void cpu_probability_gradient(const ScoreTile& tile, const T* x, const ProbabilitySlopes& slopes,
                              const double* mean, double inverse_temperature, T* gradient);

void cpu_gaussian_distance(const GaussianMoments& moments, double* slope, double* value);

void cpu_gram(std::int64_t rows, std::int64_t n, double factor, const double* a, double* c);
void cpu_center_rows(std::int64_t rows, std::int64_t n, double* x);
void cpu_column_sums(std::int64_t rows, std::int64_t n, const double* x, double* sums);
void cpu_add_to_rows(std::int64_t rows, std::int64_t n, double factor, const double* row, double* x);
void cpu_divide_by_norm(std::int64_t n, double squared_norm, double* x);
double cpu_inner_product(std::int64_t n, const double* a, const double* b);

}  // namespace toller
