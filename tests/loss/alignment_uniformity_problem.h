// Alignment and uniformity of a LossProblem.
#pragma once

#include "loss/pair_problem.h"

namespace toller {

/// problem_with_own_documents() that says which documents the queries brought.
inline LossProblem problem_with_brought_documents(std::int64_t queries, std::int64_t dimension) {
  LossProblem problem = problem_with_own_documents(queries, dimension);
  problem.own_offsets = {0};
  for (std::int64_t i = 0; i < queries; ++i) {
    problem.own_offsets.push_back(problem.own_offsets.back() + 1 + i % 3 + i % 2);
  }
  problem.grade.assign(static_cast<std::size_t>(problem.candidates), 1);
  return problem;
}

template <class T>
LossResult alignment_loss(const LossProblem& problem, const AlignmentUniformityOptions& options = {}) {
  return loss_of<T>(problem, with_options(make_alignment_uniformity<T>, options));
}

template <class T>
LossResult distributed_alignment_loss(const LossProblem& problem, const AlignmentUniformityOptions& options,
                                      const std::vector<std::int64_t>& counts) {
  return distributed_loss_of<T>(problem, with_options(make_alignment_uniformity<T>, options), counts);
}

}  // namespace toller
