// Losses of pairs of a LossProblem whose documents are each the positive of one query.
#pragma once

#include <string>

#include "loss/loss_problem.h"

namespace toller {

/// Query i brings 1 + i % 3 positives and i % 2 other documents, and leaves out up to two of the others'.
inline LossProblem problem_with_own_documents(std::int64_t queries, std::int64_t dimension) {
  std::vector<std::vector<std::int32_t>> positive, excluded;
  std::int32_t candidates = 0;
  for (std::int32_t i = 0; i < queries; ++i) {
    auto& own = positive.emplace_back();
    for (std::int32_t k = 0; k <= i % 3; ++k) own.push_back(candidates + k);
    candidates += 1 + i % 3 + i % 2;
  }
  for (std::int32_t i = 0; i < queries; ++i) {
    auto& left_out = excluded.emplace_back();
    for (const std::int32_t column : {i * 7 % candidates, i * 11 % candidates}) {
      if (i % 4 != 0 && std::ranges::find(positive[i], column) == positive[i].end())
        left_out.push_back(column);
    }
    std::ranges::sort(left_out);
    left_out.erase(std::unique(left_out.begin(), left_out.end()), left_out.end());
  }
  LossProblem problem = random_problem(queries, candidates, dimension, 0.1, false);
  problem.positive = positive;
  problem.excluded = excluded;
  return problem;
}

inline std::vector<PairLossOptions> pair_losses() {
  using enum PairLossKind;
  return {{.kind = kBpr, .scale = 3},
          {.kind = kReverseBpr, .scale = 3},
          {.query_weight = 1, .document_weight = 0},
          {.margin = 0.5, .query_weight = 0.75, .document_weight = 0.5},
          {.margin = 0.5, .negatives = HingeNegatives::kHardest, .document_weight = 0.5},
          {.margin = 0.5, .negatives = HingeNegatives::kSemiHard, .query_weight = 2}};
}

inline std::string name_of(const PairLossOptions& options) {
  constexpr const char* kKinds[] = {"mw", "bpr", "reverse-bpr", "hinge"};
  constexpr const char* kNegatives[] = {"all", "hardest", "semi-hard"};
  return std::string(kKinds[static_cast<int>(options.kind)]) + ", " +
         kNegatives[static_cast<int>(options.negatives)] +
         (options.document_weight == 0 ? ", queries alone" : "");
}

inline PairLossOptions with_tile(PairLossOptions options, std::int64_t rows, std::int64_t columns) {
  options.tile_rows = rows;
  options.tile_columns = columns;
  return options;
}

template <class T>
LossResult pair_loss(const LossProblem& problem, const PairLossOptions& options) {
  return loss_of<T>(problem, with_options(make_pair_loss<T>, options));
}

template <class T>
LossResult distributed_pair_loss(const LossProblem& problem, const PairLossOptions& options,
                                 const std::vector<std::int64_t>& counts) {
  return distributed_loss_of<T>(problem, with_options(make_pair_loss<T>, options), counts);
}

}  // namespace toller
