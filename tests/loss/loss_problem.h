// A global batch in plain vectors, and its loss over any division of the queries among ranks.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <vector>

#include "comm/host_tensor_communicator.h"
#include "comm/thread_communicator.h"
#include "loss/loss.h"

namespace toller {

struct LossProblem {
  std::int64_t queries = 0, candidates = 0, dimension = 0;
  double log_temperature = 0;
  bool symmetric = false;
  std::vector<double> query, document;                        ///< [B, d], [M, d]
  std::vector<std::vector<std::int32_t>> positive, excluded;  ///< by query
};

struct LossResult {
  double value = 0;
  double log_temperature = 0;
  std::vector<double> query, document;  ///< gradients of the global batch
};

/// Unit vectors; with `several`, up to three positives and up to two exclusions a query.
inline LossProblem random_problem(std::int64_t queries, std::int64_t candidates, std::int64_t dimension,
                                  double temperature, bool symmetric, bool several) {
  LossProblem problem{queries, candidates, dimension, std::log(temperature), symmetric, {}, {}, {}, {}};
  std::mt19937 generator(static_cast<unsigned>(queries * 1000 + candidates));
  std::normal_distribution<double> normal;
  const auto fill = [&](std::int64_t rows, std::vector<double>& x) {
    x.resize(static_cast<std::size_t>(rows * dimension));
    for (std::int64_t i = 0; i < rows; ++i) {
      double squares = 0;
      for (std::int64_t j = 0; j < dimension; ++j) {
        x[i * dimension + j] = normal(generator);
        squares += x[i * dimension + j] * x[i * dimension + j];
      }
      for (std::int64_t j = 0; j < dimension; ++j) x[i * dimension + j] /= std::sqrt(squares);
    }
  };
  fill(queries, problem.query);
  fill(candidates, problem.document);
  for (std::int64_t i = 0; i < queries; ++i) {
    const std::int64_t positives = several ? 1 + i % 3 : 1, exclusions = several ? i % 3 : 0;
    std::vector<std::int32_t> positive, excluded;
    // 7 and the candidates have no common factor in these tests, so that no column comes twice.
    for (std::int64_t k = 0; k < positives + exclusions; ++k) {
      const auto column = static_cast<std::int32_t>((i * 5 + k * 7) % candidates);
      (k < positives ? positive : excluded).push_back(column);
    }
    std::ranges::sort(excluded);
    problem.positive.push_back(positive);
    problem.excluded.push_back(excluded);
  }
  return problem;
}

inline void append_list(const std::vector<std::int32_t>& columns, std::vector<std::int64_t>& offsets,
                        std::vector<std::int32_t>& all) {
  all.insert(all.end(), columns.begin(), columns.end());
  offsets.push_back(static_cast<std::int64_t>(all.size()));
}

/// A loss of queries [first, last) of the problem, one rank's part. `make_loss(ops, score_ops)` makes the
/// loss.
template <class T, class MakeLoss>
LossResult rank_loss_of(const LossProblem& problem, std::int64_t first, std::int64_t last,
                        Communicator& communicator, MakeLoss make_loss) {
  const std::int64_t d = problem.dimension;
  const std::vector<T> query(problem.query.begin() + first * d, problem.query.begin() + last * d);
  const std::vector<T> document(problem.document.begin(), problem.document.end());
  std::vector<std::int64_t> positive_offsets{0}, excluded_offsets{0};
  std::vector<std::int32_t> positive, excluded;
  for (std::int64_t i = first; i < last; ++i) {
    append_list(problem.positive[i], positive_offsets, positive);
    append_list(problem.excluded[i], excluded_offsets, excluded);
  }
  // Gradients are overwritten: start from what would show.
  std::vector<T> dquery(query.size(), T(1e6)), ddocument(document.size(), T(1e6));
  const auto ops = make_cpu_ops<T>();
  const auto score_ops = make_cpu_score_ops<T>();
  const auto loss = make_loss(*ops, *score_ops);
  HostTensorCommunicator tensors(communicator);
  const T log_temperature = static_cast<T>(problem.log_temperature);
  LossResult result{.value = 1e6, .log_temperature = 1e6, .query = {}, .document = {}};
  loss->compute({last - first, problem.queries, problem.candidates, d, query.data(), document.data(),
                 positive_offsets, positive, excluded_offsets, excluded},
                &log_temperature, tensors,
                {.query = dquery.data(),
                 .document = ddocument.data(),
                 .log_temperature = &result.log_temperature,
                 .value = &result.value});
  result.query.assign(dquery.begin(), dquery.end());
  result.document.assign(ddocument.begin(), ddocument.end());
  return result;
}

/// InfoNCE.
template <class T>
LossResult rank_loss(const LossProblem& problem, std::int64_t first, std::int64_t last,
                     std::int64_t tile_columns, Communicator& communicator) {
  return rank_loss_of<T>(problem, first, last, communicator, [&](Ops<T>& ops, ScoreOps<T>& score_ops) {
    return make_infonce<T>(ops, score_ops, {.symmetric = problem.symmetric, .tile_columns = tile_columns});
  });
}

template <class T>
LossResult single_rank_loss(const LossProblem& problem, std::int64_t tile_columns = 1024) {
  SelfCommunicator communicator;
  return rank_loss<T>(problem, 0, problem.queries, tile_columns, communicator);
}

/// part(communicator, first, last) is the loss of queries [first, last), on a rank each; rank r has counts[r]
/// queries. Gradients are put together and summed; every rank's value must be the same.
template <class Part>
LossResult sum_over_ranks(const std::vector<std::int64_t>& counts, Part part) {
  std::vector<LossResult> parts(counts.size());
  run_ranks(static_cast<int>(counts.size()), [&](Communicator& communicator) {
    std::int64_t first = 0;
    for (int r = 0; r < communicator.rank(); ++r) first += counts[r];
    parts[communicator.rank()] = part(communicator, first, first + counts[communicator.rank()]);
  });
  LossResult total = parts[0];
  for (std::size_t r = 1; r < parts.size(); ++r) {
    if (parts[r].value != total.value && !std::isnan(total.value))
      throw std::runtime_error("ranks differ in the value");
    total.log_temperature += parts[r].log_temperature;
    total.query.insert(total.query.end(), parts[r].query.begin(), parts[r].query.end());
    for (std::size_t i = 0; i < total.document.size(); ++i) total.document[i] += parts[r].document[i];
  }
  return total;
}

template <class T>
LossResult distributed_loss(const LossProblem& problem, const std::vector<std::int64_t>& counts,
                            std::int64_t tile_columns = 1024) {
  return sum_over_ranks(counts, [&](Communicator& communicator, std::int64_t first, std::int64_t last) {
    return rank_loss<T>(problem, first, last, tile_columns, communicator);
  });
}

/// Largest difference relative to the largest element of `expected`.
inline double relative_difference(const std::vector<double>& actual, const std::vector<double>& expected) {
  if (actual.size() != expected.size()) return INFINITY;
  double difference = 0, largest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double here = std::abs(actual[i] - expected[i]);
    if (!(here <= difference)) difference = here;
    largest = std::max(largest, std::abs(expected[i]));
  }
  return largest == 0 ? difference : difference / largest;
}

}  // namespace toller
