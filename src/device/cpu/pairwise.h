// Positives against negatives pair by pair on the CPU: what ScoreOps says of the operations of the same
// names.
#pragma once

#include <cstdint>

#include "device/score_ops.h"

namespace toller {

template <class T>
void add_positive_sums(const ScoreTile& tile, const T* scores, double inverse_temperature,
                       const PairCost& cost, const PositiveSums<T>& sums);
template <class T>
void pairwise_gradient(const ScoreTile& tile, const T* scores, double inverse_temperature,
                       const PairCost& cost, const RowPositives<T>& rows, const ColumnPositives<T>& columns,
                       T* gradient);
template <class T>
void pairwise_terms(std::int64_t n, const double* weight, const PositiveSums<T>& sums, double* gradient,
                    double* value, double* log_temperature);
template <class T>
void add_column_sums(const ScoreTile& tile, const T* scores, double inverse_temperature, const PairCost& cost,
                     const ColumnPositives<T>& positives, double* value, double* slope);

template <class T>
void offer_rows(const ScoreTile& tile, const T* scores, std::int64_t first, std::int64_t positives,
                const ScorePair* pair, const T* score, const NegativeChoices<T>& choices);
template <class T>
void offer_columns(const ScoreTile& tile, const T* scores, const ColumnPositives<T>& positives,
                   const NegativeChoices<T>& choices);
template <class T>
void propose_choices(const NegativeChoices<T>& choices, const T* best, double* opposite);
template <class T>
void chosen_terms(std::int64_t lines, bool semi_hard, const T* best, const T* score,
                  double inverse_temperature, const PairCost& cost, double* chosen, double* value,
                  double* slope);

}  // namespace toller
