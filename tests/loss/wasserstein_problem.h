// Queries with graded lists and exclusions, and their Wasserstein loss.
#pragma once

#include <algorithm>

#include "loss/loss_problem.h"

namespace toller {

template <class T>
LossResult wasserstein(const LossProblem& problem, const WassersteinOptions& options = {}) {
  return loss_of<T>(problem, with_options(make_wasserstein<T>, options));
}

template <class T>
LossResult distributed_wasserstein(const LossProblem& problem, const std::vector<std::int64_t>& counts,
                                   const WassersteinOptions& options = {}) {
  return distributed_loss_of<T>(problem, with_options(make_wasserstein<T>, options), counts);
}

/// Unit vectors; lists of 1 to 4 documents with grades from 0 to 3, two documents of nobody at the end; with
/// `left_out`, some documents that are left out and up to two exclusions a query. No positives.
inline LossProblem graded_problem(std::int64_t queries, std::int64_t dimension, double temperature,
                                  bool left_out) {
  std::mt19937 generator(static_cast<unsigned>(queries));
  std::vector<std::vector<std::int32_t>> own_grade;
  std::int64_t candidates = 2;
  for (std::int64_t i = 0; i < queries; ++i) {
    std::vector<std::int32_t> grades;
    for (std::int64_t k = 0; k < 1 + i % 4; ++k) grades.push_back(static_cast<std::int32_t>(generator() % 4));
    if (left_out && i % 5 == 0) grades.back() = -1;
    candidates += static_cast<std::int64_t>(grades.size());
    own_grade.push_back(grades);
  }
  LossProblem problem = random_problem(queries, candidates, dimension, temperature, false);
  problem.positive.clear();
  set_own_grades(problem, own_grade);
  for (std::int64_t i = 0; left_out && i < queries; ++i) {
    for (std::int64_t k = 0; k < i % 3; ++k) {
      problem.excluded[i].push_back(static_cast<std::int32_t>((i * 5 + k * 7) % candidates));
    }
    std::ranges::sort(problem.excluded[i]);
  }
  return problem;
}

}  // namespace toller
