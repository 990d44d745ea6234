// One list of any kind.
#pragma once

#include "device/lists/list_hinge.h"
#include "device/lists/list_pairs.h"
#include "device/lists/list_rankings.h"
#include "device/lists/list_softmax.h"

namespace toller {

/// Are the scores of this kind divided by the temperature?
TOLLER_HOST_DEVICE constexpr bool has_temperature(ListLossKind kind) {
  return kind == ListLossKind::kListNet || kind == ListLossKind::kListMle || kind == ListLossKind::kKl ||
         kind == ListLossKind::kPgRank;
}

/// The value of a list with at least one pair that counts (loss/list_loss.h), and its derivatives by the
/// scores in list.gradient. NaN if a score is NaN or infinite.
template <ListLossKind Kind, class Team>
TOLLER_HOST_DEVICE inline double list_value(const Team& team, const ScoreList& list,
                                            double inverse_temperature, const ListLossSetup& setup) {
  const ListLossOptions& options = setup.options;
  double value = 0;
  if constexpr (Kind == ListLossKind::kListNet) {
    value = listnet_value(team, list, inverse_temperature);
  } else if constexpr (Kind == ListLossKind::kListMle) {
    value = listmle_value(team, list, inverse_temperature);
  } else if constexpr (Kind == ListLossKind::kKl) {
    value = kl_value(team, list, inverse_temperature, options.teacher_temperature);
  } else if constexpr (Kind == ListLossKind::kRankNet) {
    value = ranknet_value(team, list, options.scale);
  } else if constexpr (Kind == ListLossKind::kWeightedRankNet) {
    value = rank_weighted_ranknet_value(team, list, options.scale);
  } else if constexpr (Kind == ListLossKind::kLambda) {
    value = lambda_value(team, list, options.scale);
  } else if constexpr (Kind == ListLossKind::kIrpo) {
    value = irpo_value(team, list, options.scale);
  } else if constexpr (Kind == ListLossKind::kBpr) {
    value = bpr_value(team, list, options.scale);
  } else if constexpr (Kind == ListLossKind::kReverseBpr) {
    value = bpr_value(team, list, -options.scale);
  } else if constexpr (Kind == ListLossKind::kMarginMse) {
    value = margin_mse_value(team, list);
  } else if constexpr (Kind == ListLossKind::kHinge) {
    value = hinge_value(team, list, options.margin, options.negatives);
  } else {
    value = pg_rank_value(team, list, inverse_temperature, setup);
  }
  // Comparisons hide NaNs: x − x is 0, or NaN where x is no number.
  const double factor = has_temperature(Kind) ? inverse_temperature : 1;
  return value + list_sum(team, list.size, [&](std::int64_t k) {
           const double x = list.score[k] * factor;
           return x - x;
         });
}

/// The derivative by log τ: every score of such a loss comes divided by τ.
template <ListLossKind Kind, class Team>
TOLLER_HOST_DEVICE inline double list_temperature_slope(const Team& team, const ScoreList& list) {
  if constexpr (!has_temperature(Kind)) return 0;
  return -list_sum(team, list.size, [&](std::int64_t k) { return list.score[k] * list.gradient[k]; });
}

/// body.template operator()<Kind>() with the kind.
template <class Body>
void with_list_kind(ListLossKind kind, Body body) {
  using enum ListLossKind;
  switch (kind) {
    case kListNet:
      return body.template operator()<kListNet>();
    case kListMle:
      return body.template operator()<kListMle>();
    case kKl:
      return body.template operator()<kKl>();
    case kRankNet:
      return body.template operator()<kRankNet>();
    case kWeightedRankNet:
      return body.template operator()<kWeightedRankNet>();
    case kLambda:
      return body.template operator()<kLambda>();
    case kIrpo:
      return body.template operator()<kIrpo>();
    case kBpr:
      return body.template operator()<kBpr>();
    case kReverseBpr:
      return body.template operator()<kReverseBpr>();
    case kMarginMse:
      return body.template operator()<kMarginMse>();
    case kHinge:
      return body.template operator()<kHinge>();
    case kPgRank:
      return body.template operator()<kPgRank>();
  }
}

}  // namespace toller
