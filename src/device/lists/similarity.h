// Similarity losses of n pairs with scores x and gold scores g, and their derivatives by x. k = 1/τ.
//
//   pearson:  1 − ⟨x − x̄, g − ḡ⟩ / (‖x − x̄‖ ‖g − ḡ‖)
//             ∂/∂x_i = −((g_i − ḡ)/‖g − ḡ‖ − r (x_i − x̄)/‖x − x̄‖) / ‖x − x̄‖, r the correlation
//   rank-kl:  D/n, D = Σ t_i (log t_i − log p_i), p = softmax(k x), t = softmax(k u), u_i = (n − 1 − r_i)/(n
//   − 1),
//             r_i the number of pairs with a higher gold score and half of that of the others with the same
//             ∂/∂x_i = k (p_i − t_i)/n;  by k u_i: t_i (log t_i − log p_i − D)/n
//   pro:      1/m Σ_i T_i over the m pairs that have negatives; negatives of i are the j with w_ij = g_i −
//   g_j > gap,
//             T_i = log(1 + Σ_j e^{z_ij − z_i}), z_ij = k x_j w_ij, z_i = k x_i max_j w_ij
//             ∂/∂x_j = k/m ( Σ_i w_ij e^{z_ij − z_i − T_i} − max_l w_jl (1 − e^{−T_j}) )
//   cosent:   L = log(1 + Σ_i e^{R_i}), R_i = log Σ_{j: g_j < g_i} e^{k (x_j − x_i)}
//             ∂/∂x_i = k ( Σ_{j: g_j > g_i} e^{k (x_i − x_j) − L} − e^{R_i − L} )
//
// Work goes in three parts, so that every rank goes through n terms for each of its own pairs only, and
// nothing of the size n² is held:
//   similarity_row      of an own pair: u_i, T_i or R_i. Over ranks go these n numbers.
//   similarity_totals   of all pairs, n terms: the value. All ranks do the same.
//   similarity_slope    of an own pair: its derivative.
#pragma once

#include "device/lists/list_softmax.h"
#include "device/lists/similarity_loss.h"

namespace toller {

/// log(1 + e^max · sum) for max ≥ 0, exact in relative terms where it is small.
TOLLER_HOST_DEVICE inline double log_one_plus(double max, double sum) {
  return max == 0 ? std::log1p(sum) : max + std::log(std::exp(-max) + sum);
}

// ---- rows

template <class Team>
TOLLER_HOST_DEVICE inline double rank_row(const Team& team, const ScoredPairs& pairs, std::int64_t i) {
  const double own = pairs.gold[i];
  // The pair itself counts for a half.
  const double rank = list_sum(team, pairs.pairs,
                               [&](std::int64_t j) {
                                 return pairs.gold[j] > own ? 1.0 : (pairs.gold[j] == own ? 0.5 : 0.0);
                               }) -
                      0.5;
  const auto last = static_cast<double>(pairs.pairs - 1);
  return last == 0 ? 0 : (last - rank) / last;
}

template <class Team>
TOLLER_HOST_DEVICE inline double pro_row(const Team& team, const ScoredPairs& pairs,
                                         double inverse_temperature, double gap, std::int64_t i) {
  const double own = pairs.gold[i];
  const double highest = list_max(team, pairs.pairs, [&](std::int64_t j) { return own - pairs.gold[j]; });
  if (!(highest > gap)) return 0;
  const double of_own = pairs.score[i] * highest;
  const auto excess = [&](std::int64_t j) {
    return (pairs.score[j] * (own - pairs.gold[j]) - of_own) * inverse_temperature;
  };
  const auto negative = [&](std::int64_t j) { return own - pairs.gold[j] > gap; };
  // At least 0: pair i is no negative of itself.
  const double max =
      list_max(team, pairs.pairs, [&](std::int64_t j) { return negative(j) ? excess(j) : 0.0; });
  return log_one_plus(max, list_sum(team, pairs.pairs, [&](std::int64_t j) {
                        return negative(j) ? std::exp(excess(j) - max) : 0.0;
                      }));
}

template <class Team>
TOLLER_HOST_DEVICE inline double cosent_row(const Team& team, const ScoredPairs& pairs,
                                            double inverse_temperature, std::int64_t i) {
  const double own = pairs.gold[i];
  const auto below = [&](std::int64_t j) { return pairs.gold[j] < own; };
  const double max =
      list_max(team, pairs.pairs, [&](std::int64_t j) { return below(j) ? pairs.score[j] : -INFINITY; });
  if (max == -INFINITY) return max;
  const double sum = list_sum(team, pairs.pairs, [&](std::int64_t j) {
    return below(j) ? std::exp((pairs.score[j] - max) * inverse_temperature) : 0.0;
  });
  return (max - pairs.score[i]) * inverse_temperature + std::log(sum);
}

/// Does a loss of this kind look at similarity_row?
TOLLER_HOST_DEVICE constexpr bool has_rows(SimilarityKind kind) {
  return kind != SimilarityKind::kPearson;
}

/// What pair i amounts to among all pairs.
template <SimilarityKind Kind, class Team>
TOLLER_HOST_DEVICE inline double similarity_row(const Team& team, const ScoredPairs& pairs,
                                                double inverse_temperature, double gap, std::int64_t i) {
  if constexpr (Kind == SimilarityKind::kRankKl) {
    return rank_row(team, pairs, i);
  } else if constexpr (Kind == SimilarityKind::kPro) {
    return pro_row(team, pairs, inverse_temperature, gap, i);
  } else if constexpr (Kind == SimilarityKind::kCosent) {
    return cosent_row(team, pairs, inverse_temperature, i);
  } else {
    return 0;
  }
}

// ---- totals

/// Mean of x [n], and the norm of x − mean: 0 where all are equal, which rounding would hide.
template <class Team>
TOLLER_HOST_DEVICE inline void center_numbers(const Team& team, std::int64_t n, const double* x, double& mean,
                                              double& norm) {
  const auto number = [&](std::int64_t i) { return x[i]; };
  const double average = list_sum(team, n, number) / static_cast<double>(n);
  const double highest = list_max(team, n, number);
  const double lowest = -list_max(team, n, [&](std::int64_t i) { return -x[i]; });
  mean = average;
  norm = std::sqrt(list_sum(team, n, [&](std::int64_t i) { return (x[i] - average) * (x[i] - average); }));
  if (lowest == highest) norm = 0;
}

template <class Team>
TOLLER_HOST_DEVICE inline double pearson_totals(const Team& team, const ScoredPairs& pairs,
                                                SimilarityTotals& totals) {
  center_numbers(team, pairs.pairs, pairs.score, totals.score_mean, totals.score_norm);
  center_numbers(team, pairs.pairs, pairs.gold, totals.gold_mean, totals.gold_norm);
  totals.correlation = 0;
  if (totals.gold_norm == 0) return 0;
  if (totals.score_norm == 0) return 1;
  totals.correlation = list_sum(team, pairs.pairs, [&](std::int64_t i) {
    return (pairs.score[i] - totals.score_mean) / totals.score_norm *
           ((pairs.gold[i] - totals.gold_mean) / totals.gold_norm);
  });
  return 1 - totals.correlation;
}

template <class Team>
TOLLER_HOST_DEVICE inline double rank_kl_totals(const Team& team, const ScoredPairs& pairs,
                                                double inverse_temperature, SimilarityTotals& totals) {
  const auto z = [&](std::int64_t i) { return pairs.score[i] * inverse_temperature; };
  const auto target = [&](std::int64_t i) { return pairs.row[i] * inverse_temperature; };
  totals.score_log_sum = log_sum_exp(team, pairs.pairs, z);
  totals.target_log_sum = log_sum_exp(team, pairs.pairs, target);
  totals.divergence = list_sum(team, pairs.pairs, [&](std::int64_t i) {
    const double log_p = z(i) - totals.score_log_sum, log_t = target(i) - totals.target_log_sum;
    return std::exp(log_t) * (log_t - log_p);
  });
  return totals.divergence / static_cast<double>(pairs.pairs);
}

template <class Team>
TOLLER_HOST_DEVICE inline double pro_totals(const Team& team, const ScoredPairs& pairs, double gap,
                                            SimilarityTotals& totals) {
  const double lowest = -list_max(team, pairs.pairs, [&](std::int64_t i) { return -pairs.gold[i]; });
  totals.lowest_gold = lowest;
  totals.terms =
      list_sum(team, pairs.pairs, [&](std::int64_t i) { return pairs.gold[i] - lowest > gap ? 1.0 : 0.0; });
  if (totals.terms == 0) return 0;
  return list_sum(team, pairs.pairs, [&](std::int64_t i) { return pairs.row[i]; }) / totals.terms;
}

template <class Team>
TOLLER_HOST_DEVICE inline double cosent_totals(const Team& team, const ScoredPairs& pairs,
                                               SimilarityTotals& totals) {
  const double highest = list_max(team, pairs.pairs, [&](std::int64_t i) { return pairs.row[i]; });
  const double max = highest > 0 ? highest : 0;
  totals.log_sum = log_one_plus(
      max, list_sum(team, pairs.pairs, [&](std::int64_t i) { return std::exp(pairs.row[i] - max); }));
  return totals.log_sum;
}

/// The value of the loss; 0 where there are no two pairs. NaN if a score is NaN or infinite.
template <SimilarityKind Kind, class Team>
TOLLER_HOST_DEVICE inline double similarity_totals(const Team& team, const ScoredPairs& pairs,
                                                   double inverse_temperature, double gap,
                                                   SimilarityTotals& totals) {
  if (pairs.pairs == 0) return 0;
  double value = 0;
  if constexpr (Kind == SimilarityKind::kPearson) {
    value = pearson_totals(team, pairs, totals);
  } else if constexpr (Kind == SimilarityKind::kRankKl) {
    value = rank_kl_totals(team, pairs, inverse_temperature, totals);
  } else if constexpr (Kind == SimilarityKind::kPro) {
    value = pro_totals(team, pairs, gap, totals);
  } else {
    value = cosent_totals(team, pairs, totals);
  }
  // Comparisons hide NaNs: x − x is 0, or NaN where x is no number.
  const double factor = Kind == SimilarityKind::kPearson ? 1 : inverse_temperature;
  return value + list_sum(team, pairs.pairs, [&](std::int64_t i) {
           const double x = pairs.score[i] * factor;
           return x - x;
         });
}

// ---- derivatives

/// By the score of a pair, and the pair's part of the derivative by log τ.
struct SimilaritySlope {
  double by_score, by_log_temperature;
};

TOLLER_HOST_DEVICE inline SimilaritySlope pearson_slope(const ScoredPairs& pairs,
                                                        const SimilarityTotals& totals, std::int64_t i) {
  if (totals.gold_norm == 0 || totals.score_norm == 0) return {0, 0};
  const double x = (pairs.score[i] - totals.score_mean) / totals.score_norm;
  const double g = (pairs.gold[i] - totals.gold_mean) / totals.gold_norm;
  return {(totals.correlation * x - g) / totals.score_norm, 0};
}

/// τ divides the target's numbers u as it does the scores.
TOLLER_HOST_DEVICE inline SimilaritySlope rank_kl_slope(const ScoredPairs& pairs,
                                                        const SimilarityTotals& totals,
                                                        double inverse_temperature, std::int64_t i) {
  const auto n = static_cast<double>(pairs.pairs);
  const double z = pairs.score[i] * inverse_temperature, target = pairs.row[i] * inverse_temperature;
  const double log_p = z - totals.score_log_sum, log_t = target - totals.target_log_sum;
  const double t = std::exp(log_t), by_z = std::exp(log_p) - t;
  const double by_target = t * (log_t - log_p - totals.divergence);
  return {inverse_temperature * by_z / n, -(z * by_z + target * by_target) / n};
}

template <class Team>
TOLLER_HOST_DEVICE inline double pro_slope(const Team& team, const ScoredPairs& pairs,
                                           const SimilarityTotals& totals, double inverse_temperature,
                                           double gap, std::int64_t j) {
  if (totals.terms == 0) return 0;
  const double own = pairs.gold[j], score = pairs.score[j];
  double slope = list_sum(team, pairs.pairs, [&](std::int64_t i) {
    const double weight = pairs.gold[i] - own;
    if (!(weight > gap)) return 0.0;
    const double of_positive = pairs.score[i] * (pairs.gold[i] - totals.lowest_gold);
    return weight * std::exp((score * weight - of_positive) * inverse_temperature - pairs.row[i]);
  });
  // T_j is 0 where j has no negatives.
  slope += (own - totals.lowest_gold) * std::expm1(-pairs.row[j]);
  return inverse_temperature * slope / totals.terms;
}

template <class Team>
TOLLER_HOST_DEVICE inline double cosent_slope(const Team& team, const ScoredPairs& pairs,
                                              const SimilarityTotals& totals, double inverse_temperature,
                                              std::int64_t i) {
  const double own = pairs.gold[i], score = pairs.score[i];
  const double as_lower = list_sum(team, pairs.pairs, [&](std::int64_t j) {
    return pairs.gold[j] > own ? std::exp((score - pairs.score[j]) * inverse_temperature - totals.log_sum)
                               : 0.0;
  });
  return inverse_temperature * (as_lower - std::exp(pairs.row[i] - totals.log_sum));
}

template <SimilarityKind Kind, class Team>
TOLLER_HOST_DEVICE inline SimilaritySlope similarity_slope(const Team& team, const ScoredPairs& pairs,
                                                           const SimilarityTotals& totals,
                                                           double inverse_temperature, double gap,
                                                           std::int64_t i) {
  if constexpr (Kind == SimilarityKind::kPearson) {
    return pearson_slope(pairs, totals, i);
  } else if constexpr (Kind == SimilarityKind::kRankKl) {
    return rank_kl_slope(pairs, totals, inverse_temperature, i);
  } else {
    double by_score = 0;
    if constexpr (Kind == SimilarityKind::kPro) {
      by_score = pro_slope(team, pairs, totals, inverse_temperature, gap, i);
    } else {
      by_score = cosent_slope(team, pairs, totals, inverse_temperature, i);
    }
    // The value is a function of x/τ.
    return {by_score, -pairs.score[i] * by_score};
  }
}

/// body.template operator()<Kind>() with the kind.
template <class Body>
void with_similarity_kind(SimilarityKind kind, Body body) {
  using enum SimilarityKind;
  switch (kind) {
    case kPearson:
      return body.template operator()<kPearson>();
    case kRankKl:
      return body.template operator()<kRankKl>();
    case kPro:
      return body.template operator()<kPro>();
    case kCosent:
      return body.template operator()<kCosent>();
  }
}

}  // namespace toller
