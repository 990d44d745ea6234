// A global batch in plain vectors, and any loss of it over any division of the queries among ranks, on any
// device.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "comm/thread_communicator.h"
#include "device/backend.h"
#include "loss/loss.h"

namespace toller {

/// Lists that are empty are of no query.
struct LossProblem {
  std::int64_t queries = 0, candidates = 0, dimension = 0;
  double log_temperature = 0;
  std::vector<double> query = {}, document = {};                        ///< [B, d], [M, d]
  std::vector<std::vector<std::int32_t>> positive = {}, excluded = {};  ///< by query
  std::vector<std::int64_t> own_offsets = {};                           ///< [B + 1]
  std::vector<std::int32_t> grade = {};  ///< by column, as far as own_offsets go
  std::vector<float> teacher = {};       ///< likewise, or empty
  std::int64_t step = 0, first_query = 0;
};

struct LossResult {
  double value = 0;
  double log_temperature = 0;
  std::vector<double> query, document;  ///< gradients of the global batch
};

// ---- problems

/// Unit vectors; with `several`, up to three positives and up to two exclusions a query.
inline LossProblem random_problem(std::int64_t queries, std::int64_t candidates, std::int64_t dimension,
                                  double temperature, bool several) {
  LossProblem problem{queries, candidates, dimension, std::log(temperature)};
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

/// Nothing is a negative: one document, and three that are positives or left out.
inline std::vector<LossProblem> problems_without_negatives() {
  return {{1, 1, 2, 0, {1, 0}, {1, 0}, {{0}}, {{}}},
          {2, 3, 1, -1, {1, -1}, {1, 0.5, -1}, {{0, 1}, {2}}, {{2}, {0, 1}}}};
}

/// Two queries with lists of positives and exclusions that fit.
inline LossProblem problem_with_lists() {
  return {2, 3, 1, 0, {1, 1}, {1, 1, 1}, {{0}, {1}}, {{}, {}}};
}

/// The same with lists that do not fit the batch.
inline std::vector<LossProblem> problems_with_wrong_lists() {
  const LossProblem good = problem_with_lists();
  LossProblem none = good, low = good, high = good, excluded = good, unsorted = good;
  none.positive[1].clear();
  low.positive[0] = {-1};
  high.positive[0] = {3};
  excluded.excluded[0] = {7};
  unsorted.excluded[0] = {2, 1};
  return {none, low, high, excluded, unsorted};
}

/// The problem with a NaN in a query, in a document and as the temperature.
inline std::vector<LossProblem> problems_with_nan(const LossProblem& good) {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  LossProblem query = good, document = good, temperature = good;
  query.query[7] = kNaN;
  document.document[31] = kNaN;
  temperature.log_temperature = kNaN;
  return {query, document, temperature};
}

/// Gives query i the grades own_grade[i]; the columns of the queries follow each other.
inline void set_own_grades(LossProblem& problem, const std::vector<std::vector<std::int32_t>>& own_grade) {
  problem.own_offsets = {0};
  problem.grade.clear();
  for (const auto& grades : own_grade) {
    problem.grade.insert(problem.grade.end(), grades.begin(), grades.end());
    problem.own_offsets.push_back(static_cast<std::int64_t>(problem.grade.size()));
  }
}

// ---- losses

/// Lists of columns one behind the other, as LossBatch has them.
struct JoinedLists {
  std::vector<std::int64_t> offsets{0};
  std::vector<std::int32_t> columns;

  /// Those of queries [first, last).
  JoinedLists(const std::vector<std::vector<std::int32_t>>& lists, std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      if (!lists.empty()) columns.insert(columns.end(), lists[i].begin(), lists[i].end());
      offsets.push_back(static_cast<std::int64_t>(columns.size()));
    }
  }
};

/// Elements [first, last) of a list that may be missing.
template <class E>
std::span<const E> part_of(const std::vector<E>& list, std::int64_t first, std::int64_t last) {
  if (list.empty()) return {};
  return std::span(list).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(last - first));
}

/// Numbers on the device, rounded to T.
template <class T>
DeviceBuffer<T> to_device(Ops<T>& ops, const double* numbers, std::int64_t n) {
  const std::vector<RealOf<T>> values(numbers, numbers + n);
  DeviceBuffer<RealOf<T>> reals(ops, n + 1);  // at least one, so that there is an address
  reals.write(values);
  if constexpr (std::is_same_v<T, RealOf<T>>) {
    return reals;
  } else {
    DeviceBuffer<T> rounded(ops, n + 1);
    ops.convert(n, reals.data(), rounded.data());
    return rounded;
  }
}

template <class E>
std::vector<double> to_host(const DeviceBuffer<E>& numbers, std::int64_t n) {
  std::vector<E> values(static_cast<std::size_t>(n));
  numbers.read(values);
  return {values.begin(), values.end()};
}

/// Room for n results. Results are overwritten: it holds what would show.
template <class E>
DeviceBuffer<E> result_buffer(DeviceMemory& memory, std::int64_t n) {
  DeviceBuffer<E> buffer(memory, n + 1);
  buffer.write(std::vector<E>(static_cast<std::size_t>(n + 1), E(1e6)));
  return buffer;
}

/// How many queries each rank has, from what this one has.
template <class T>
std::vector<std::int64_t> gather_counts(std::int64_t queries, const Backend<T>& backend) {
  const int ranks = backend.communicator->size();
  std::vector<double> counts(static_cast<std::size_t>(ranks));
  counts[static_cast<std::size_t>(backend.communicator->rank())] = static_cast<double>(queries);
  DeviceBuffer<double> sums(*backend.ops, ranks);
  sums.write(counts);
  backend.communicator->all_reduce_sum(sums.data(), ranks);
  sums.read(counts);
  return {counts.begin(), counts.end()};
}

/// The loss of queries [first, last) of the problem, one rank's part.
template <class T>
LossResult compute_loss(Loss<T>& loss, const LossProblem& problem, std::int64_t first, std::int64_t last,
                        const Backend<T>& backend) {
  using Real = RealOf<T>;
  Ops<T>& ops = *backend.ops;
  const std::int64_t d = problem.dimension, query_values = (last - first) * d,
                     document_values = problem.candidates * d;
  const JoinedLists positive(problem.positive, first, last), excluded(problem.excluded, first, last);
  const std::vector<std::int64_t> counts = gather_counts(last - first, backend);
  const auto own_offsets = part_of(problem.own_offsets, first, last + 1);
  const std::int64_t own_first = own_offsets.empty() ? 0 : own_offsets.front(),
                     own_last = own_offsets.empty() ? 0 : own_offsets.back();
  ops.begin_step();
  const auto query = to_device<T>(ops, problem.query.data() + first * d, query_values);
  const auto document = to_device<T>(ops, problem.document.data(), document_values);
  DeviceBuffer<Real> log_temperature(ops, 1);
  log_temperature.write(std::vector{static_cast<Real>(problem.log_temperature)});
  const auto d_query = result_buffer<Real>(ops, query_values);
  const auto d_document = result_buffer<Real>(ops, document_values);
  const auto d_log_temperature = result_buffer<double>(ops, 1), value = result_buffer<double>(ops, 1);
  loss.compute({.queries = last - first,
                .global_queries = problem.queries,
                .candidates = problem.candidates,
                .dimension = d,
                .query = query.data(),
                .document = document.data(),
                .positive_offsets = positive.offsets,
                .positive = positive.columns,
                .excluded_offsets = excluded.offsets,
                .excluded = excluded.columns,
                .own_offsets = own_offsets,
                .own_grade = part_of(problem.grade, own_first, own_last),
                .own_teacher = part_of(problem.teacher, own_first, own_last),
                .step = problem.step,
                .first_query = problem.first_query + first,
                .query_counts = counts},
               log_temperature.data(), *backend.communicator,
               {.query = d_query.data(),
                .document = d_document.data(),
                .log_temperature = d_log_temperature.data(),
                .value = value.data()});
  return {.value = to_host(value, 1)[0],
          .log_temperature = to_host(d_log_temperature, 1)[0],
          .query = to_host(d_query, query_values),
          .document = to_host(d_document, document_values)};
}

/// The same with a loss of its own: `make_loss(ops, score_ops)`.
template <class T, class MakeLoss>
LossResult rank_loss_of(const LossProblem& problem, const MakeLoss& make_loss, std::int64_t first,
                        std::int64_t last, const Backend<T>& backend) {
  return compute_loss<T>(*make_loss(*backend.ops, *backend.score_ops), problem, first, last, backend);
}

/// A make_loss of one of the factories of loss.h: loss_of<T>(problem, with_options(make_infonce<T>, {})).
template <class T, class Options>
auto with_options(std::unique_ptr<Loss<T>> (*make)(Ops<T>&, ScoreOps<T>&, const Options&),
                  const std::type_identity_t<Options>& options) {
  return [make, options](Ops<T>& ops, ScoreOps<T>& score_ops) { return make(ops, score_ops, options); };
}

/// On one rank and the CPU.
template <class T, class MakeLoss>
LossResult loss_of(const LossProblem& problem, const MakeLoss& make_loss) {
  SelfCommunicator communicator;
  return rank_loss_of<T>(problem, make_loss, 0, problem.queries, make_cpu_backend<T>(communicator));
}

/// Rank r has counts[r] queries, and make_backend(communicator) to compute on. Gradients are put together and
/// summed; every rank's value must be the same.
template <class T, class MakeLoss, class MakeBackend>
LossResult distributed_loss_of(const LossProblem& problem, const MakeLoss& make_loss,
                               const std::vector<std::int64_t>& counts, const MakeBackend& make_backend) {
  std::vector<LossResult> parts(counts.size());
  run_ranks(static_cast<int>(counts.size()), [&](Communicator& communicator) {
    const auto own = counts.begin() + communicator.rank();
    const std::int64_t first = std::accumulate(counts.begin(), own, std::int64_t{0}), last = first + *own;
    const Backend<T> backend = make_backend(communicator);
    parts[communicator.rank()] = rank_loss_of<T>(problem, make_loss, first, last, backend);
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

/// The same on the CPU.
template <class T, class MakeLoss>
LossResult distributed_loss_of(const LossProblem& problem, const MakeLoss& make_loss,
                               const std::vector<std::int64_t>& counts) {
  return distributed_loss_of<T>(problem, make_loss, counts, make_cpu_backend<T>);
}

/// The part of a rank without queries, beside one that has them all. Its document gradients must be 0.
template <class T, class MakeLoss>
LossResult loss_without_queries(const LossProblem& problem, const MakeLoss& make_loss) {
  LossResult empty;
  run_ranks(2, [&](Communicator& communicator) {
    const std::int64_t first = communicator.rank() == 0 ? problem.queries : 0;
    const LossResult part =
        rank_loss_of<T>(problem, make_loss, first, problem.queries, make_cpu_backend<T>(communicator));
    EXPECT_GT(part.value, 0);
    if (communicator.rank() == 0) empty = part;
  });
  for (const double x : empty.document) EXPECT_EQ(x, 0);
  return empty;
}

// ---- results

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

inline void expect_equal_gradients(const LossResult& actual, const LossResult& expected, double tolerance) {
  EXPECT_LT(relative_difference(actual.query, expected.query), tolerance);
  EXPECT_LT(relative_difference(actual.document, expected.document), tolerance);
  EXPECT_LT(relative_difference({actual.log_temperature}, {expected.log_temperature}), tolerance);
}

/// Tolerances are relative.
inline void expect_equal(const LossResult& actual, const LossResult& expected, double tolerance) {
  EXPECT_LT(relative_difference({actual.value}, {expected.value}), tolerance);
  expect_equal_gradients(actual, expected, tolerance);
}

inline void expect_same_bits(const LossResult& actual, const LossResult& expected) {
  EXPECT_EQ(actual.value, expected.value);
  EXPECT_EQ(actual.query, expected.query);
  EXPECT_EQ(actual.document, expected.document);
  EXPECT_EQ(actual.log_temperature, expected.log_temperature);
}

inline void expect_finite(const LossResult& result) {
  EXPECT_TRUE(std::isfinite(result.value));
  EXPECT_TRUE(std::isfinite(result.log_temperature));
  for (const double x : result.query) EXPECT_TRUE(std::isfinite(x));
  for (const double x : result.document) EXPECT_TRUE(std::isfinite(x));
}

inline void expect_all_zero(const LossResult& result) {
  EXPECT_EQ(result.value, 0);
  EXPECT_EQ(result.log_temperature, 0);
  for (const double x : result.query) EXPECT_EQ(x, 0);
  for (const double x : result.document) EXPECT_EQ(x, 0);
}

}  // namespace toller
