// Losses on the softmax of a list's scores, z = s/τ.
//   listnet: −Σ_k t_k log p_k, p = softmax(z), t = softmax(y)           ∂/∂z_k = p_k − t_k
//   kl:      Σ_k t_k (log t_k − log p_k), t = softmax(teacher/T)        likewise
//   listmle: Σ_k (A_k − z_k), A_k = log( e^{z_k} + Σ_{l: y_l < y_k} e^{z_l} ), over the k above the lowest
//   grade
//            ∂/∂z_l = −1 [l is one of them] + Σ_k e^{z_l − A_k} over those k for which l is in A_k
// listmle costs size² exponentials, twice.
#pragma once

#include "device/lists/list_team.h"

namespace toller {

/// A softmax of x(k): p_k = e^{x(k) − log_sum}.
template <class Team, class Number>
TOLLER_HOST_DEVICE inline double log_sum_exp(const Team& team, std::int64_t size, Number x) {
  const double max = list_max(team, size, x);
  return max + std::log(list_sum(team, size, [&](std::int64_t k) { return std::exp(x(k) - max); }));
}

/// Cross-entropy with the target softmax(target(k)), less the target's entropy where `divergence`.
template <class Team, class Number>
TOLLER_HOST_DEVICE inline double softmax_value(const Team& team, const ScoreList& list,
                                               double inverse_temperature, bool divergence, Number target) {
  const auto z = [&](std::int64_t k) { return list.score[k] * inverse_temperature; };
  const double log_sum = log_sum_exp(team, list.size, z);
  const double target_log_sum = log_sum_exp(team, list.size, target);
  return list_sum(team, list.size, [&](std::int64_t k) {
    const double log_p = z(k) - log_sum, log_t = target(k) - target_log_sum;
    const double t = std::exp(log_t);
    list.gradient[k] = inverse_temperature * (std::exp(log_p) - t);
    return t * ((divergence ? log_t : 0) - log_p);
  });
}

template <class Team>
TOLLER_HOST_DEVICE inline double listnet_value(const Team& team, const ScoreList& list,
                                               double inverse_temperature) {
  return softmax_value(team, list, inverse_temperature, false,
                       [&](std::int64_t k) { return static_cast<double>(list.grade[k]); });
}

template <class Team>
TOLLER_HOST_DEVICE inline double kl_value(const Team& team, const ScoreList& list, double inverse_temperature,
                                          double teacher_temperature) {
  return softmax_value(team, list, inverse_temperature, true, [&](std::int64_t k) {
    return static_cast<double>(list.teacher[k]) / teacher_temperature;
  });
}

template <class Team>
TOLLER_HOST_DEVICE inline double listmle_value(const Team& team, const ScoreList& list,
                                               double inverse_temperature) {
  const double* score = list.score;
  double* log_sum = list.work.a;  // A_k, or +∞ at the lowest grade
  const auto below = [&](std::int64_t l, std::int64_t k) { return list.grade[l] < list.grade[k]; };
  const double value = list_sum(team, list.size, [&](std::int64_t k) {
    double max = score[k];
    bool lowest = true;
    for (std::int64_t l = 0; l < list.size; ++l) {
      if (!below(l, k)) continue;
      lowest = false;
      max = score[l] > max ? score[l] : max;
    }
    log_sum[k] = INFINITY;
    if (lowest) return 0.0;
    double sum = std::exp((score[k] - max) * inverse_temperature);
    for (std::int64_t l = 0; l < list.size; ++l) {
      if (below(l, k)) sum += std::exp((score[l] - max) * inverse_temperature);
    }
    const double above_own = (max - score[k]) * inverse_temperature + std::log(sum);
    log_sum[k] = score[k] * inverse_temperature + above_own;
    return above_own;
  });
  team.sync();
  for_documents(team, list.size, [&](std::int64_t l) {
    const double z = score[l] * inverse_temperature;
    double slope = log_sum[l] == INFINITY ? 0 : std::exp(z - log_sum[l]) - 1;
    for (std::int64_t k = 0; k < list.size; ++k) {
      if (below(l, k)) slope += std::exp(z - log_sum[k]);
    }
    list.gradient[l] = inverse_temperature * slope;
  });
  return value;
}

}  // namespace toller
