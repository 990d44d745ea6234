// Pairs of texts with gold scores, and their similarity losses.
#pragma once

#include <numeric>
#include <string>

#include "loss/loss_problem.h"

namespace toller {

template <class T>
LossResult similarity_loss(const LossProblem& problem, const SimilarityOptions& options) {
  return loss_of<T>(problem, with_options(make_similarity_loss<T>, options));
}

/// Query i and document i are a pair with gold score gold[i].
inline void set_gold_scores(LossProblem& problem, const std::vector<float>& gold) {
  problem.teacher = gold;
  problem.own_offsets.resize(gold.size() + 1);
  std::iota(problem.own_offsets.begin(), problem.own_offsets.end(), 0);
}

/// Pairs of one dimension: the scores are the documents.
inline LossProblem scored_pairs(const std::vector<double>& scores, const std::vector<float>& gold,
                                double temperature = 1) {
  const auto pairs = static_cast<std::int64_t>(scores.size());
  LossProblem problem{pairs, pairs, 1, std::log(temperature), std::vector(scores.size(), 1.0), scores};
  set_gold_scores(problem, gold);
  return problem;
}

/// Unit vectors, gold scores from 0 to 5 in steps of a quarter, and one document more that is nobody's.
inline LossProblem random_pairs(std::int64_t pairs, std::int64_t dimension, double temperature) {
  LossProblem problem = random_problem(pairs, pairs + 1, dimension, temperature, false);
  std::mt19937 generator(static_cast<unsigned>(pairs * 31 + dimension));
  std::vector<float> gold;
  for (std::int64_t i = 0; i < pairs; ++i) gold.push_back(static_cast<float>(generator() % 21) / 4);
  set_gold_scores(problem, gold);
  return problem;
}

inline const std::vector<SimilarityKind>& similarity_kinds() {
  using enum SimilarityKind;
  static const std::vector<SimilarityKind> kinds = {kPearson, kRankKl, kPro, kCosent};
  return kinds;
}

inline std::string similarity_name(SimilarityKind kind) {
  constexpr const char* kNames[] = {"pearson", "rank-kl", "pro", "cosent"};
  return kNames[static_cast<int>(kind)];
}

/// As part of a test's name.
inline std::string similarity_test_name(const testing::TestParamInfo<SimilarityKind>& info) {
  std::string name = similarity_name(info.param);
  std::erase(name, '-');
  return name;
}

}  // namespace toller
