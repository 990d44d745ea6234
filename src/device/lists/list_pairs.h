// Losses on pairs of a list's documents: the mean over the pairs (k preferred to l) of a term of the
// difference x = s_k − s_l.
//   ranknet:          softplus(−c x),                       y_k > y_l
//   weighted ranknet: softplus(−c x) / (ρ_k + ρ_l),         ρ the rank by grade (ties share the mean)
//   lambda:           |2^{y_k} − 2^{y_l}| · |1/log(1 + r_k) − 1/log(1 + r_l)| · softplus(−c x), r the rank by
//   score margin-mse:       (x − (t_k − t_l))²,                   y_k > y_l, t the teacher's scores bpr:
//   softplus(−c x),                       y_k > 0 = y_l; reverse: softplus(c x)
// Ranks are constants for the derivatives. A thread goes through all partners of its documents: size² terms,
// each computed for both of its documents.
//
// irpo: Σ_k w_k a_k / Σ_k w_k over the documents k above the lowest grade, a_k the mean of softplus(−c x)
// over the l with y_l < y_k, w_k = 1/log(1 + ρ_k).
#pragma once

#include "device/lists/list_team.h"

namespace toller {

/// A pair's value and its derivative by x.
struct PairTerm {
  double value, slope;
};

TOLLER_HOST_DEVICE inline PairTerm logistic_term(double x, double scale, double weight) {
  return {weight * list_softplus(-scale * x), -weight * scale * list_sigmoid(-scale * x)};
}

/// Mean of term(k, l) over the pairs with preferred(k, l).
template <class Team, class Preferred, class Term>
TOLLER_HOST_DEVICE inline double mean_over_pairs(const Team& team, const ScoreList& list, Preferred preferred,
                                                 Term term) {
  double pairs = 0;
  const double value = list_sum(team, list.size, [&](std::int64_t k) {
    double terms = 0, slope = 0;
    for (std::int64_t l = 0; l < list.size; ++l) {
      if (preferred(k, l)) {
        const PairTerm pair = term(k, l);
        terms += pair.value;
        slope += pair.slope;
        ++pairs;
      } else if (preferred(l, k)) {
        slope -= term(l, k).slope;
      }
    }
    list.gradient[k] = slope;
    return terms;
  });
  pairs = team.sum(pairs);
  for_documents(team, list.size, [&](std::int64_t k) { list.gradient[k] /= pairs; });
  return value / pairs;
}

/// Mean of weight(k, l) softplus(−c (s_k − s_l)) over the pairs with y_k > y_l.
template <class Team, class Weight>
TOLLER_HOST_DEVICE inline double weighted_ranknet_value(const Team& team, const ScoreList& list, double scale,
                                                        Weight weight) {
  return mean_over_pairs(
      team, list, [&](std::int64_t k, std::int64_t l) { return list.grade[k] > list.grade[l]; },
      [&](std::int64_t k, std::int64_t l) {
        return logistic_term(list.score[k] - list.score[l], scale, weight(k, l));
      });
}

template <class Team>
TOLLER_HOST_DEVICE inline double ranknet_value(const Team& team, const ScoreList& list, double scale) {
  return weighted_ranknet_value(team, list, scale, [](std::int64_t, std::int64_t) { return 1.0; });
}

template <class Team>
TOLLER_HOST_DEVICE inline double rank_weighted_ranknet_value(const Team& team, const ScoreList& list,
                                                             double scale) {
  const double* rank = list.work.a;
  rank_by_grade(team, list, list.work.a);
  team.sync();
  return weighted_ranknet_value(team, list, scale,
                                [&](std::int64_t k, std::int64_t l) { return 1 / (rank[k] + rank[l]); });
}

template <class Team>
TOLLER_HOST_DEVICE inline double lambda_value(const Team& team, const ScoreList& list, double scale) {
  double *discount = list.work.a, *gain = list.work.b;
  double* key = list.work.c;
  for_documents(team, list.size, [&](std::int64_t k) { key[k] = sortable(list.score[k]); });
  team.sync();
  rank_descending(team, list.size, key, list.work.place);
  for_documents(team, list.size, [&](std::int64_t k) {
    discount[k] = 1 / std::log(2.0 + list.work.place[k]);
    gain[k] = list_gain(list.grade[k]);
  });
  team.sync();
  return weighted_ranknet_value(team, list, scale, [&](std::int64_t k, std::int64_t l) {
    return std::fabs(gain[k] - gain[l]) * std::fabs(discount[k] - discount[l]);
  });
}

template <class Team>
TOLLER_HOST_DEVICE inline double margin_mse_value(const Team& team, const ScoreList& list) {
  return mean_over_pairs(
      team, list, [&](std::int64_t k, std::int64_t l) { return list.grade[k] > list.grade[l]; },
      [&](std::int64_t k, std::int64_t l) {
        const double margin = static_cast<double>(list.teacher[k]) - static_cast<double>(list.teacher[l]);
        const double error = list.score[k] - list.score[l] - margin;
        return PairTerm{error * error, 2 * error};
      });
}

/// `scale` is negative in the reverse form.
template <class Team>
TOLLER_HOST_DEVICE inline double bpr_value(const Team& team, const ScoreList& list, double scale) {
  return mean_over_pairs(
      team, list, [&](std::int64_t k, std::int64_t l) { return list.grade[k] > 0 && list.grade[l] == 0; },
      [&](std::int64_t k, std::int64_t l) { return logistic_term(list.score[k] - list.score[l], scale, 1); });
}

template <class Team>
TOLLER_HOST_DEVICE inline double irpo_value(const Team& team, const ScoreList& list, double scale) {
  double *weight = list.work.a, *rank = list.work.b;  // weight: w_k over the number of documents below k
  rank_by_grade(team, list, rank);
  double pairs = 0;
  const double total = list_sum(team, list.size, [&](std::int64_t k) {
    std::int32_t below = 0;
    for (std::int64_t l = 0; l < list.size; ++l) below += list.grade[l] < list.grade[k];
    pairs += below;
    const double of_rank = below == 0 ? 0 : 1 / std::log(1 + rank[k]);
    weight[k] = below == 0 ? 0 : of_rank / below;
    return of_rank;
  });
  pairs = team.sum(pairs);
  team.sync();
  // The mean over all pairs, with weights that undo the division by their number.
  return weighted_ranknet_value(team, list, scale,
                                [&](std::int64_t k, std::int64_t) { return weight[k] * pairs / total; });
}

}  // namespace toller
