// The Mann–Whitney loss of a LossProblem, and problems with given scores.
#pragma once

#include "loss/loss_problem.h"

namespace toller {

template <class T>
LossResult mw_loss(const LossProblem& problem, const MwOptions& options) {
  return loss_of<T>(problem, with_options(make_mw<T>, options));
}

template <class T>
LossResult distributed_mw_loss(const LossProblem& problem, const std::vector<std::int64_t>& counts,
                               const MwOptions& options) {
  return distributed_loss_of<T>(problem, with_options(make_mw<T>, options), counts);
}

/// On the grid, pair by pair, within queries.
inline const std::vector<MwOptions>& mw_forms() {
  static const std::vector<MwOptions> forms = {{}, {.exact = true}, {.per_query = true}};
  return forms;
}

/// One query with the scores given, of which the first `positives` are those of its positives. The gradients
/// of the documents are those of the scores.
inline LossProblem problem_of_scores(const std::vector<double>& scores, std::int64_t positives,
                                     double temperature) {
  LossProblem problem{
      1, static_cast<std::int64_t>(scores.size()), 1, std::log(temperature), {1}, scores, {{}}, {{}}};
  for (std::int32_t p = 0; p < positives; ++p) problem.positive[0].push_back(p);
  return problem;
}

}  // namespace toller
