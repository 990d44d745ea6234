// A global batch with graded lists in plain vectors, and its Wasserstein loss over any division of the
// queries among ranks.
#pragma once

#include <algorithm>

#include "device/backend.h"
#include "loss/loss_problem.h"

namespace toller {

struct GradedProblem {
  std::int64_t queries = 0, candidates = 0, dimension = 0;
  double log_temperature = 0;
  std::vector<double> query, document;               ///< [B, d], [M, d]
  std::vector<std::vector<std::int32_t>> own_grade;  ///< by query; the columns follow each other
  std::vector<std::vector<std::int32_t>> excluded;   ///< by query

  std::int64_t own_begin(std::int64_t query_number) const {
    std::int64_t column = 0;
    for (std::int64_t i = 0; i < query_number; ++i) column += static_cast<std::int64_t>(own_grade[i].size());
    return column;
  }
};

/// Unit vectors; lists of 1 to 4 documents with grades from 0 to 3, two documents of nobody at the end; with
/// `left_out`, some documents that are left out and up to two exclusions a query.
inline GradedProblem graded_problem(std::int64_t queries, std::int64_t dimension, double temperature,
                                    bool left_out) {
  GradedProblem problem;
  problem.queries = queries;
  problem.dimension = dimension;
  std::mt19937 generator(static_cast<unsigned>(queries));
  for (std::int64_t i = 0; i < queries; ++i) {
    std::vector<std::int32_t> grades;
    for (std::int64_t k = 0; k < 1 + i % 4; ++k) grades.push_back(static_cast<std::int32_t>(generator() % 4));
    if (left_out && i % 5 == 0) grades.back() = -1;
    problem.candidates += static_cast<std::int64_t>(grades.size());
    problem.own_grade.push_back(grades);
  }
  problem.candidates += 2;
  for (std::int64_t i = 0; i < queries; ++i) {
    std::vector<std::int32_t> columns;
    for (std::int64_t k = 0; left_out && k < i % 3; ++k) {
      columns.push_back(static_cast<std::int32_t>((i * 5 + k * 7) % problem.candidates));
    }
    std::ranges::sort(columns);
    problem.excluded.push_back(columns);
  }
  const LossProblem vectors =
      random_problem(queries, problem.candidates, dimension, temperature, false, false);
  problem.query = vectors.query;
  problem.document = vectors.document;
  problem.log_temperature = vectors.log_temperature;
  return problem;
}

/// Numbers on the device, rounded to T.
template <class T>
DeviceBuffer<T> to_device(Ops<T>& ops, const double* numbers, std::int64_t n) {
  const std::vector<RealOf<T>> values(numbers, numbers + n);
  DeviceBuffer<RealOf<T>> reals(ops, n + 1);  // at least one, so that there is an address
  ops.copy_to_device(reals.data(), values.data(), values.size() * sizeof(RealOf<T>));
  if constexpr (std::is_same_v<T, RealOf<T>>) {
    return reals;
  } else {
    DeviceBuffer<T> rounded(ops, n + 1);
    ops.convert(n, reals.data(), rounded.data());
    return rounded;
  }
}

template <class E>
std::vector<double> to_host(DeviceMemory& memory, const DeviceBuffer<E>& numbers, std::int64_t n) {
  std::vector<E> values(static_cast<std::size_t>(n));
  memory.copy_to_host(values.data(), numbers.data(), values.size() * sizeof(E));
  return {values.begin(), values.end()};
}

/// The loss of queries [first, last), one rank's part.
template <class T>
LossResult rank_wasserstein(const GradedProblem& problem, std::int64_t first, std::int64_t last,
                            const WassersteinOptions& options, const Backend<T>& backend) {
  using Real = RealOf<T>;
  Ops<T>& ops = *backend.ops;
  const std::int64_t d = problem.dimension, query_values = (last - first) * d,
                     document_values = problem.candidates * d;
  std::vector<std::int64_t> none(static_cast<std::size_t>(last - first + 1), 0), excluded_offsets{0};
  std::vector<std::int64_t> own_offsets{problem.own_begin(first)};
  std::vector<std::int32_t> excluded, own_grade;
  for (std::int64_t i = first; i < last; ++i) {
    append_list(problem.excluded[i], excluded_offsets, excluded);
    own_grade.insert(own_grade.end(), problem.own_grade[i].begin(), problem.own_grade[i].end());
    own_offsets.push_back(own_offsets.front() + static_cast<std::int64_t>(own_grade.size()));
  }
  ops.begin_step();
  const auto query = to_device<T>(ops, problem.query.data() + first * d, query_values);
  const auto document = to_device<T>(ops, problem.document.data(), document_values);
  DeviceBuffer<Real> log_temperature(ops, 1);
  log_temperature.write(std::vector{static_cast<Real>(problem.log_temperature)});
  // Gradients are overwritten: start from what would show.
  DeviceBuffer<Real> d_query(ops, query_values + 1), d_document(ops, document_values + 1);
  d_query.write(std::vector<Real>(static_cast<std::size_t>(query_values + 1), Real(1e6)));
  d_document.write(std::vector<Real>(static_cast<std::size_t>(document_values + 1), Real(1e6)));
  DeviceBuffer<double> numbers(ops, 2);
  numbers.write(std::vector{1e6, 1e6});
  const auto loss = make_wasserstein<T>(ops, *backend.score_ops, options);
  loss->compute({.queries = last - first,
                 .global_queries = problem.queries,
                 .candidates = problem.candidates,
                 .dimension = d,
                 .query = query.data(),
                 .document = document.data(),
                 .positive_offsets = none,
                 .positive = {},
                 .excluded_offsets = excluded_offsets,
                 .excluded = excluded,
                 .own_offsets = own_offsets,
                 .own_grade = own_grade,
                 .first_query = first},
                log_temperature.data(), *backend.communicator,
                {.query = d_query.data(),
                 .document = d_document.data(),
                 .log_temperature = numbers.data(),
                 .value = numbers.data() + 1});
  const std::vector<double> results = to_host(ops, numbers, 2);
  return {.value = results[1],
          .log_temperature = results[0],
          .query = to_host(ops, d_query, query_values),
          .document = to_host(ops, d_document, document_values)};
}

template <class T>
LossResult wasserstein(const GradedProblem& problem, const WassersteinOptions& options = {}) {
  SelfCommunicator communicator;
  return rank_wasserstein<T>(problem, 0, problem.queries, options, make_cpu_backend<T>(communicator));
}

/// Rank r has counts[r] queries, and make_backend(communicator) to compute on. Gradients are put together and
/// summed; every rank's value must be the same.
template <class T, class MakeBackend>
LossResult distributed_wasserstein(const GradedProblem& problem, const std::vector<std::int64_t>& counts,
                                   const WassersteinOptions& options, MakeBackend make_backend) {
  std::vector<LossResult> parts(counts.size());
  run_ranks(static_cast<int>(counts.size()), [&](Communicator& communicator) {
    std::int64_t first = 0;
    for (int r = 0; r < communicator.rank(); ++r) first += counts[r];
    parts[communicator.rank()] = rank_wasserstein<T>(problem, first, first + counts[communicator.rank()],
                                                     options, make_backend(communicator));
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
LossResult distributed_wasserstein(const GradedProblem& problem, const std::vector<std::int64_t>& counts,
                                   const WassersteinOptions& options = {}) {
  return distributed_wasserstein<T>(problem, counts, options, make_cpu_backend<T>);
}

}  // namespace toller
