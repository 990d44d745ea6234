// A global batch of queries with lists of their own, and the loss of any factory over any division of the
// queries among ranks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "loss/loss_problem.h"

namespace toller {

struct ListProblem {
  std::int64_t queries = 0, candidates = 0, dimension = 0;
  double log_temperature = 0;
  std::vector<double> query, document;    ///< [B, d], [M, d]
  std::vector<std::int64_t> own_offsets;  ///< [B + 1]
  std::vector<std::int32_t> grade;        ///< [M]
  std::vector<float> teacher;             ///< [M], or empty
  std::int64_t step = 0, first_query = 0;
};

template <class T>
using LossFactory = std::function<std::unique_ptr<Loss<T>>(Ops<T>&, ScoreOps<T>&)>;

template <class T>
LossFactory<T> list_loss_factory(const ListLossOptions& options) {
  return
      [options](Ops<T>& ops, ScoreOps<T>& score_ops) { return make_list_loss<T>(ops, score_ops, options); };
}

/// Query i has `length(i)` documents. Grades 0 to 3, some documents left out; teacher scores; unit vectors.
inline ListProblem random_lists(std::int64_t queries, std::int64_t dimension, double temperature,
                                const std::function<std::int64_t(std::int64_t)>& length) {
  ListProblem problem;
  problem.own_offsets = {0};
  for (std::int64_t i = 0; i < queries; ++i)
    problem.own_offsets.push_back(problem.own_offsets.back() + length(i));
  const LossProblem vectors =
      random_problem(queries, problem.own_offsets.back(), dimension, temperature, false, false);
  problem.queries = queries;
  problem.candidates = vectors.candidates;
  problem.dimension = dimension;
  problem.log_temperature = vectors.log_temperature;
  problem.query = vectors.query;
  problem.document = vectors.document;
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

/// The loss of queries [first, last) of the problem, one rank's part.
template <class T>
LossResult rank_list_loss(const ListProblem& problem, const LossFactory<T>& factory, std::int64_t first,
                          std::int64_t last, Communicator& communicator) {
  const std::int64_t d = problem.dimension;
  const std::vector<T> query(problem.query.begin() + first * d, problem.query.begin() + last * d);
  const std::vector<T> document(problem.document.begin(), problem.document.end());
  const std::int64_t first_column = problem.own_offsets[first], last_column = problem.own_offsets[last];
  const std::vector<std::int64_t> own_offsets(problem.own_offsets.begin() + first,
                                              problem.own_offsets.begin() + last + 1);
  const std::vector<std::int32_t> own_grade(problem.grade.begin() + first_column,
                                            problem.grade.begin() + last_column);
  std::vector<float> own_teacher;
  if (!problem.teacher.empty()) {
    own_teacher.assign(problem.teacher.begin() + first_column, problem.teacher.begin() + last_column);
  }
  // For losses over all candidates: the first document is the positive.
  std::vector<std::int64_t> positive_offsets{0}, excluded_offsets(last - first + 1, 0);
  std::vector<std::int32_t> positive;
  for (std::int64_t i = first; i < last; ++i) {
    positive.push_back(static_cast<std::int32_t>(std::min(problem.own_offsets[i], problem.candidates - 1)));
    positive_offsets.push_back(static_cast<std::int64_t>(positive.size()));
  }
  // Gradients are overwritten: start from what would show.
  std::vector<T> dquery(query.size(), T(1e6)), ddocument(document.size(), T(1e6));
  const auto ops = make_cpu_ops<T>();
  const auto score_ops = make_cpu_score_ops<T>();
  const auto loss = factory(*ops, *score_ops);
  HostTensorCommunicator tensors(communicator);
  const T log_temperature = static_cast<T>(problem.log_temperature);
  LossResult result{.value = 1e6, .log_temperature = 1e6, .query = {}, .document = {}};
  loss->compute({.queries = last - first,
                 .global_queries = problem.queries,
                 .candidates = problem.candidates,
                 .dimension = d,
                 .query = query.data(),
                 .document = document.data(),
                 .positive_offsets = positive_offsets,
                 .positive = positive,
                 .excluded_offsets = excluded_offsets,
                 .excluded = {},
                 .own_offsets = own_offsets,
                 .own_grade = own_grade,
                 .own_teacher = own_teacher,
                 .step = problem.step,
                 .first_query = problem.first_query + first},
                &log_temperature, tensors,
                {.query = dquery.data(),
                 .document = ddocument.data(),
                 .log_temperature = &result.log_temperature,
                 .value = &result.value});
  result.query.assign(dquery.begin(), dquery.end());
  result.document.assign(ddocument.begin(), ddocument.end());
  return result;
}

template <class T>
LossResult single_rank_list_loss(const ListProblem& problem, const LossFactory<T>& factory) {
  SelfCommunicator communicator;
  return rank_list_loss<T>(problem, factory, 0, problem.queries, communicator);
}

template <class T>
LossResult single_rank_list_loss(const ListProblem& problem, const ListLossOptions& options) {
  return single_rank_list_loss<T>(problem, list_loss_factory<T>(options));
}

/// Rank r has counts[r] queries.
template <class T>
LossResult distributed_list_loss(const ListProblem& problem, const LossFactory<T>& factory,
                                 const std::vector<std::int64_t>& counts) {
  return sum_over_ranks(counts, [&](Communicator& communicator, std::int64_t first, std::int64_t last) {
    return rank_list_loss<T>(problem, factory, first, last, communicator);
  });
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

}  // namespace toller
