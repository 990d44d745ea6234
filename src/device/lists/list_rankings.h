// pg-rank: the policy gradient of a list's expected nDCG@K (Gao, Chang, Cardie, Brantley & Joachims, "Policy-
// Gradient Training of Language Models for Ranking", 2023). The policy is Plackett–Luce with z = s/τ: the
// first K places of a ranking π have
//   log P(π) = Σ_{r=1..K} ( z_{π_r} − A_r ),   A_r = log of the sum of e^z over what is not placed before r.
// n rankings are drawn: the order of z_k + g_k with Gumbel noise g (Yellott 1977). Each has the reward R_j =
// nDCG@K and, as its baseline, the mean reward of the others:
//   value = 1 − mean R_j,   gradient = −1/n Σ_j (R_j − b_j) ∇ log P(π_j) = −1/(n − 1) Σ_j (R_j − mean R) ∇
//   log P.
// The gradient is an unbiased estimate of that of 1 − E[R]; it is not the derivative of the drawn value.
//   ∂ log P/∂z_k = [k has a place r ≤ K] − e^{z_k + C_r},   C_r = log Σ_{q ≤ r} e^{−A_q}, r its place, or K.
// n · (size² comparisons + size exponentials + size Philox blocks) a list. A draw depends on seed, step,
// query, ranking and document alone.
#pragma once

#include "device/lists/list_softmax.h"
#include "device/lists/list_team.h"
#include "random.h"

namespace toller {

/// Gumbel noise of a document in a drawn ranking. The block index has 32 bits for the query, 16 for the
/// ranking and 16 for four documents.
TOLLER_HOST_DEVICE inline double ranking_noise(const ListLossSetup& setup, std::int64_t query,
                                               std::int32_t sample, std::int64_t document) {
  const std::uint64_t seed = setup.options.seed;
  std::uint32_t word[4] = {
      (static_cast<std::uint32_t>(sample) << 16) | static_cast<std::uint32_t>(document / 4),
      static_cast<std::uint32_t>(query), setup.step, static_cast<std::uint32_t>(RandomStream::kRanking)};
  philox4x32_rounds(word[0], word[1], word[2], word[3], static_cast<std::uint32_t>(seed),
                    static_cast<std::uint32_t>(seed >> 32));
  return -std::log(-std::log(uniform_open(word[document % 4])));
}

TOLLER_HOST_DEVICE inline double log_add_exp(double x, double y) {
  if (x == -INFINITY) return y;
  return x > y ? x + std::log1p(std::exp(y - x)) : y + std::log1p(std::exp(x - y));
}

/// Σ gain/log2(1 + place) over the first `cutoff` places.
template <class Team>
TOLLER_HOST_DEVICE inline double discounted_gain(const Team& team, const ScoreList& list,
                                                 std::int64_t cutoff) {
  return list_sum(team, list.size, [&](std::int64_t k) {
    const std::int32_t place = list.work.place[k];
    return place < cutoff ? list_gain(list.grade[k]) / std::log2(2.0 + place) : 0;
  });
}

/// C [cutoff] of a ranking whose first places are order [cutoff]; `rest` is the log-sum-exp of the others.
TOLLER_HOST_DEVICE inline void accumulate_places(const double* z, const std::int32_t* order,
                                                 std::int64_t cutoff, double rest, double* c) {
  for (std::int64_t r = cutoff - 1; r >= 0; --r) c[r] = rest = log_add_exp(rest, z[order[r]]);
  double sum = -INFINITY;
  for (std::int64_t r = 0; r < cutoff; ++r) c[r] = sum = log_add_exp(sum, -c[r]);
}

/// place, order [cutoff] and c [cutoff] of a drawn ranking; noisy [size] is room.
template <class Team>
TOLLER_HOST_DEVICE inline void draw_ranking(const Team& team, const ScoreList& list,
                                            const ListLossSetup& setup, std::int32_t sample,
                                            std::int64_t cutoff, const double* z, double* noisy, double* c) {
  const ListWork& work = list.work;
  for_documents(team, list.size,
                [&](std::int64_t k) { noisy[k] = z[k] + ranking_noise(setup, list.query, sample, k); });
  team.sync();
  rank_descending(team, list.size, noisy, work.place);
  for_documents(team, list.size, [&](std::int64_t k) {
    if (work.place[k] < cutoff) work.order[work.place[k]] = static_cast<std::int32_t>(k);
  });
  double rest = -INFINITY;
  if (cutoff < list.size) {
    const auto unplaced = [&](std::int64_t k) { return work.place[k] < cutoff ? -INFINITY : z[k]; };
    rest = log_sum_exp(team, list.size, unplaced);
  }
  team.sync();
  if (team.thread() == 0) accumulate_places(z, work.order, cutoff, rest, c);
  team.sync();
}

template <class Team>
TOLLER_HOST_DEVICE inline double pg_rank_value(const Team& team, const ScoreList& list,
                                               double inverse_temperature, const ListLossSetup& setup) {
  const std::int64_t size = list.size, cutoff = setup.options.cutoff < size ? setup.options.cutoff : size;
  const std::int32_t samples = setup.options.samples;
  const ListWork& work = list.work;
  double *z = work.a, *noisy = work.b, *c = work.c, *slopes = work.d;
  rank_descending(team, size, list.grade, work.place);
  const double ideal = discounted_gain(team, list, cutoff);
  for_documents(team, size, [&](std::int64_t k) {
    z[k] = sortable(list.score[k] * inverse_temperature);
    list.gradient[k] = slopes[k] = 0;
  });
  double first = 0, gap_sum = 0;  // rewards are taken relative to the first: no difference, no gradient
  for (std::int32_t sample = 0; sample < samples; ++sample) {
    draw_ranking(team, list, setup, sample, cutoff, z, noisy, c);
    const double reward = discounted_gain(team, list, cutoff) / ideal;
    if (sample == 0) first = reward;
    gap_sum += reward - first;
    for_documents(team, size, [&](std::int64_t k) {
      const std::int32_t place = work.place[k];
      const double slope = (place < cutoff ? 1 : 0) - std::exp(z[k] + c[place < cutoff ? place : cutoff - 1]);
      slopes[k] += slope;
      list.gradient[k] += (reward - first) * slope;
    });
  }
  const double mean_gap = gap_sum / samples;
  for_documents(team, size, [&](std::int64_t k) {
    list.gradient[k] = (mean_gap * slopes[k] - list.gradient[k]) * inverse_temperature / (samples - 1);
  });
  return 1 - first - mean_gap;
}

}  // namespace toller
