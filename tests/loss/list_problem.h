// Queries with lists of their own, and their list-wise losses.
#pragma once

#include <algorithm>
#include <functional>
#include <string>

#include "loss/loss_problem.h"

namespace toller {

template <class T>
LossResult list_loss(const LossProblem& problem, const ListLossOptions& options) {
  return loss_of<T>(problem, with_options(make_list_loss<T>, options));
}

template <class T>
LossResult distributed_list_loss(const LossProblem& problem, const std::vector<std::int64_t>& counts,
                                 const ListLossOptions& options) {
  return distributed_loss_of<T>(problem, with_options(make_list_loss<T>, options), counts);
}

/// One query and documents of one dimension: the scores are the documents.
inline LossProblem one_list(const std::vector<double>& scores, const std::vector<std::int32_t>& grades,
                            const std::vector<float>& teacher = {}, double temperature = 1) {
  const auto size = static_cast<std::int64_t>(scores.size());
  return {.queries = 1,
          .candidates = size,
          .dimension = 1,
          .log_temperature = std::log(temperature),
          .query = {1},
          .document = scores,
          .own_offsets = {0, size},
          .grade = grades,
          .teacher = teacher};
}

/// Query i has `length(i)` documents. Grades 0 to 3, some documents left out; teacher scores; unit vectors.
/// For losses over all candidates, the first document is the positive.
inline LossProblem random_lists(std::int64_t queries, std::int64_t dimension, double temperature,
                                const std::function<std::int64_t(std::int64_t)>& length) {
  std::vector<std::int64_t> own_offsets = {0};
  for (std::int64_t i = 0; i < queries; ++i) own_offsets.push_back(own_offsets.back() + length(i));
  LossProblem problem = random_problem(queries, own_offsets.back(), dimension, temperature, false);
  for (std::int64_t i = 0; i < queries; ++i) {
    problem.positive[i] = {static_cast<std::int32_t>(std::min(own_offsets[i], problem.candidates - 1))};
  }
  problem.own_offsets = own_offsets;
  std::mt19937 generator(static_cast<unsigned>(queries * 31 + dimension));
  for (std::int64_t column = 0; column < problem.candidates; ++column) {
    const auto drawn = static_cast<std::int32_t>(generator() % 9);
    problem.grade.push_back(drawn == 8 ? -1 : drawn < 4 ? 0 : drawn - 4);
    problem.teacher.push_back(static_cast<float>(generator() % 256) / 64);
  }
  return problem;
}

inline std::int64_t mixed_length(std::int64_t i) {
  constexpr std::int64_t kLengths[] = {4, 9, 1, 17, 2, 0, 6};
  return kLengths[i % 7];
}

inline const std::vector<ListLossKind>& list_loss_kinds() {
  using enum ListLossKind;
  static const std::vector<ListLossKind> kinds = {kListNet,         kListMle,   kKl,    kRankNet,
                                                  kWeightedRankNet, kLambda,    kIrpo,  kBpr,
                                                  kReverseBpr,      kMarginMse, kHinge, kPgRank};
  return kinds;
}

inline std::string list_loss_name(ListLossKind kind) {
  constexpr const char* kNames[] = {"listnet",          "listmle",    "kl",    "ranknet",
                                    "weighted-ranknet", "lambda",     "irpo",  "bpr",
                                    "reverse-bpr",      "margin-mse", "hinge", "pg-rank"};
  return kNames[static_cast<int>(kind)];
}

/// As part of a test's name.
inline std::string list_loss_test_name(const testing::TestParamInfo<ListLossKind>& info) {
  std::string name = list_loss_name(info.param);
  std::erase(name, '-');
  return name;
}

}  // namespace toller
