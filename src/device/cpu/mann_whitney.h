// Positives against negatives on the CPU: what ScoreOps says of the operations of the same names.
#pragma once

#include <cstdint>

#include "device/score_ops.h"

namespace toller {

template <class T>
double largest_norm(std::int64_t rows, std::int64_t columns, const T* x);

ScoreGrid lay_grid(const double* norms, double inverse_temperature, std::int64_t capacity);

template <class T>
void deposit(std::int64_t n, const T* scores, const ScoreGrid& grid, int fraction_bits, std::int64_t* weight);

template <class T>
void pair_on_grid(const GridPairs<T>& pairs, const ScoreGrid& grid);

template <class T, class Result>
void read_slopes(std::int64_t n, const T* scores, const ScoreGrid& grid, const T* slope, Result* result);

}  // namespace toller
