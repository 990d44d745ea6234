// Hinge loss of a list: the mean over its positives p (y_p > 0) of Σ_n max(0, m − s_p + s_n) over the
// negatives (y_n = 0) that p meets: all, the hardest, or the semi-hard one. The choice is a constant for the
// derivatives.
#pragma once

#include "device/lists/list_team.h"

namespace toller {

/// The negative that positive p meets, if not all; of equal scores the first. Schroff et al. (FaceNet, CVPR
/// 2015) for the semi-hard one, with the easiest negative where none is below the positive.
TOLLER_HOST_DEVICE inline std::int32_t chosen_negative(const ScoreList& list, std::int64_t p,
                                                       HingeNegatives negatives) {
  std::int64_t hardest = -1, below = -1, easiest = -1;
  for (std::int64_t n = 0; n < list.size; ++n) {
    if (list.grade[n] != 0) continue;
    const double score = list.score[n];
    if (hardest < 0 || score > list.score[hardest]) hardest = n;
    if (easiest < 0 || score < list.score[easiest]) easiest = n;
    if (score < list.score[p] && (below < 0 || score > list.score[below])) below = n;
  }
  if (negatives == HingeNegatives::kHardest) return static_cast<std::int32_t>(hardest);
  return static_cast<std::int32_t>(below >= 0 ? below : easiest);
}

template <class Team>
TOLLER_HOST_DEVICE inline double hinge_value(const Team& team, const ScoreList& list, double margin,
                                             HingeNegatives negatives) {
  std::int32_t* choice = list.work.place;
  const bool all = negatives == HingeNegatives::kAll;
  if (!all) {
    for_documents(team, list.size, [&](std::int64_t k) {
      choice[k] = list.grade[k] > 0 ? chosen_negative(list, k, negatives) : -1;
    });
    team.sync();
  }
  const auto meets = [&](std::int64_t p, std::int64_t n) {
    return list.grade[p] > 0 && list.grade[n] == 0 && (all || choice[p] == n);
  };
  const auto excess = [&](std::int64_t p, std::int64_t n) { return margin - list.score[p] + list.score[n]; };
  double positives = 0;
  const double value = list_sum(team, list.size, [&](std::int64_t k) {
    double terms = 0, slope = 0;
    positives += list.grade[k] > 0;
    for (std::int64_t l = 0; l < list.size; ++l) {
      if (meets(k, l) && excess(k, l) > 0) {
        terms += excess(k, l);
        slope -= 1;
      } else if (meets(l, k) && excess(l, k) > 0) {
        slope += 1;
      }
    }
    list.gradient[k] = slope;
    return terms;
  });
  positives = team.sum(positives);
  for_documents(team, list.size, [&](std::int64_t k) { list.gradient[k] /= positives; });
  return value / positives;
}

}  // namespace toller
