// The Mann–Whitney loss of a LossProblem, and problems with given scores.
#pragma once

#include <nlohmann/json.hpp>

#include "loss/loss_problem.h"

namespace toller {

template <class T>
LossResult mw_rank_loss(const LossProblem& problem, const MwOptions& options, std::int64_t first,
                        std::int64_t last, Communicator& communicator) {
  return rank_loss_of<T>(problem, first, last, communicator, [&](Ops<T>& ops, ScoreOps<T>& score_ops) {
    return make_mw<T>(ops, score_ops, options);
  });
}

template <class T>
LossResult mw_loss(const LossProblem& problem, const MwOptions& options) {
  SelfCommunicator communicator;
  return mw_rank_loss<T>(problem, options, 0, problem.queries, communicator);
}

template <class T>
LossResult distributed_mw_loss(const LossProblem& problem, const std::vector<std::int64_t>& counts,
                               const MwOptions& options) {
  return sum_over_ranks(counts, [&](Communicator& communicator, std::int64_t first, std::int64_t last) {
    return mw_rank_loss<T>(problem, options, first, last, communicator);
  });
}

/// One query with the scores given, of which the first `positives` are those of its positives. The gradients
/// of the documents are those of the scores.
inline LossProblem problem_of_scores(const std::vector<double>& scores, std::int64_t positives,
                                     double temperature) {
  LossProblem problem{
      1, static_cast<std::int64_t>(scores.size()), 1, std::log(temperature), false, {1}, scores, {{}}, {{}}};
  for (std::int32_t p = 0; p < positives; ++p) problem.positive[0].push_back(p);
  return problem;
}

}  // namespace toller
