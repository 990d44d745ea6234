// Negatives that positives choose: a line is one thread's work.
#include "device/pair_choices.h"
#include "device/cpu/pair_math.h"
#include "device/cpu/pairwise.h"

namespace toller {
namespace {

/// Calls offer(highest, lowest) with a line's choices so far, and keeps them.
template <class T, class Offer>
void update_line(const NegativeChoices<T>& choices, std::int64_t line, Offer offer) {
  const std::int64_t low = choices.semi_hard ? choices.lines + line : line;
  BestScore<T> highest{choices.best[line], choices.number[line]};
  BestScore<T> lowest{choices.best[low], choices.number[low]};
  offer(highest, lowest);
  choices.best[line] = highest.score;
  choices.number[line] = highest.number;
  if (!choices.semi_hard) return;
  choices.best[low] = lowest.score;
  choices.number[low] = lowest.number;
}

}  // namespace

template <class T>
void offer_rows(const ScoreTile& tile, const T* scores, std::int64_t first, std::int64_t positives,
                const ScorePair* pair, const T* score, const NegativeChoices<T>& choices) {
#pragma omp parallel for schedule(static)
  for (std::int64_t p = first; p < first + positives; ++p) {
    const T* row = scores + (pair[p].row - tile.row) * tile.columns;
    update_line(choices, p, [&](BestScore<T>& highest, BestScore<T>& lowest) {
      for (std::int64_t j = 0; j < tile.columns; ++j) {
        offer_negative(choices.semi_hard, score[p], row[j], static_cast<double>(tile.column + j), highest,
                       lowest);
      }
    });
  }
}

template <class T>
void offer_columns(const ScoreTile& tile, const T* scores, const ColumnPositives<T>& positives,
                   const NegativeChoices<T>& choices) {
  const std::int64_t first_query = positives.first_query + tile.row;
#pragma omp parallel for schedule(static)
  for (std::int64_t j = 0; j < tile.columns; ++j) {
    const std::int64_t column = tile.column + j;
    if (positives.weight[column] == 0) continue;
    update_line(choices, column, [&](BestScore<T>& highest, BestScore<T>& lowest) {
      for (std::int64_t i = 0; i < tile.rows; ++i) {
        offer_negative(choices.semi_hard, positives.score[column], scores[i * tile.columns + j],
                       static_cast<double>(first_query + i), highest, lowest);
      }
    });
  }
}

template <class T>
void propose_choices(const NegativeChoices<T>& choices, const T* best, double* opposite) {
  for (std::int64_t line = 0; line < choices.lines; ++line) {
    opposite[line] = opposite_choice(choices, best, line);
  }
}

template <class T>
void chosen_terms(std::int64_t lines, bool semi_hard, const T* best, const T* score,
                  double inverse_temperature, const PairCost& cost, double* chosen, double* value,
                  double* slope) {
  with_pair_cost<CpuPairMath>(cost, [&](const auto& function) {
    for (std::int64_t line = 0; line < lines; ++line) {
      const auto term = chosen_term(lines, semi_hard, best, score[line], static_cast<T>(inverse_temperature),
                                    function, line, chosen[line]);
      value[line] = static_cast<double>(term.value);
      slope[line] = static_cast<double>(term.slope);
    }
  });
}

#define TOLLER_INSTANTIATE(T)                                                                             \
  template void offer_rows<T>(const ScoreTile&, const T*, std::int64_t, std::int64_t, const ScorePair*,   \
                              const T*, const NegativeChoices<T>&);                                       \
  template void offer_columns<T>(const ScoreTile&, const T*, const ColumnPositives<T>&,                   \
                                 const NegativeChoices<T>&);                                              \
  template void propose_choices<T>(const NegativeChoices<T>&, const T*, double*);                         \
  template void chosen_terms<T>(std::int64_t, bool, const T*, const T*, double, const PairCost&, double*, \
                                double*, double*);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
