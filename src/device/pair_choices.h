// Negatives that positives choose (NegativeChoices), one line, written once for all devices.
#pragma once

#include "device/score_ops.h"
#include "host_device.h"

namespace toller {

/// The best of the scores offered so far, and the number of the first that had it. NaN is better than all.
template <class T>
struct BestScore {
  T score;
  double number;

  TOLLER_HOST_DEVICE void offer(T other, double other_number) {
    if (score != score) return;
    const bool better = other > score || other != other;
    if (better || (other == score && other_number < number)) *this = {other, other_number};
  }
};

/// What a positive with score a makes of a negative: offers for the highest score that may be chosen, and
/// for the opposite of the lowest.
template <class T>
TOLLER_HOST_DEVICE inline void offer_negative(bool semi_hard, T a, T score, double number,
                                              BestScore<T>& highest, BestScore<T>& lowest) {
  if (score == -static_cast<T>(INFINITY)) return;
  if (!semi_hard || !(score >= a)) highest.offer(score, number);
  if (semi_hard) lowest.offer(-score, number);
}

/// A line's choice among the arrays of NegativeChoices: its highest score, or the lowest where it has none.
template <class T>
TOLLER_HOST_DEVICE inline std::int64_t choice_of(std::int64_t lines, bool semi_hard, const T* best,
                                                 std::int64_t line) {
  return semi_hard && best[line] == -static_cast<T>(INFINITY) ? lines + line : line;
}

/// ScoreOps::propose_choices.
template <class T>
TOLLER_HOST_DEVICE inline double opposite_choice(const NegativeChoices<T>& choices, const T* best,
                                                 std::int64_t line) {
  const std::int64_t at = choice_of(choices.lines, choices.semi_hard, best, line);
  return choices.best[at] == best[at] ? -choices.number[at] : -static_cast<double>(INFINITY);
}

/// ScoreOps::chosen_terms. A best score that is not a number makes both of the result NaN.
template <class T, class Cost>
TOLLER_HOST_DEVICE inline CostAndSlope<T> chosen_term(std::int64_t lines, bool semi_hard, const T* best,
                                                      T positive, T inverse_temperature, const Cost& cost,
                                                      std::int64_t line, double& chosen) {
  const std::int64_t at = choice_of(lines, semi_hard, best, line);
  const T score = at == line ? best[at] : -best[at];
  if (score != score) {
    chosen = -1;
    return {score, score};
  }
  const bool none = best[at] == -static_cast<T>(INFINITY);
  chosen = none ? -1 : -chosen;
  if (none) return {T{0}, T{0}};
  return cost((score - positive) * inverse_temperature);
}

}  // namespace toller
