// Pairs of texts with gold scores on the device against the CPU's: the same arithmetic in double, only sums
// in another order.
#include "cuda/similarity.cuh"

#include <gtest/gtest.h>

#include <cmath>

#include "cuda/device_array.h"
#include "device/score_ops.h"

namespace toller {
namespace {

/// Sums in double of some hundred terms, and exponentials of arguments up to 2/τ = 400 times differences of
/// gold scores, up to 5.
constexpr double kDoubleError = 1e-11;

struct HostPairs {
  std::vector<double> score, gold;
  std::int64_t first, own;

  std::int64_t size() const { return static_cast<std::int64_t>(score.size()); }
  ScoredPairs view(const double* row) const { return {size(), first, own, score.data(), gold.data(), row}; }
};

HostPairs make_pairs(std::int64_t pairs, std::int64_t first, std::int64_t own) {
  HostPairs host{random_numbers<float>(pairs, 3), {}, first, own};
  for (double& x : host.score) x = std::tanh(x);
  std::mt19937 generator(7);
  for (std::int64_t i = 0; i < pairs; ++i) host.gold.push_back(static_cast<double>(generator() % 21) / 4);
  return host;
}

const std::vector<SimilarityOptions>& all_losses() {
  using enum SimilarityKind;
  static const std::vector<SimilarityOptions> all = {
      {.kind = kPearson}, {.kind = kRankKl}, {.kind = kPro}, {.kind = kPro, .gap = 1.3}, {.kind = kCosent}};
  return all;
}

/// What the three operations give, in the order of the calls; rows of other ranks' pairs come from the CPU.
struct Results {
  std::vector<double> row, value, gradient, temperature_part;
};

/// The rows of all pairs.
std::vector<double> rows_on_cpu(const HostPairs& host, const SimilarityOptions& options, double inverse) {
  std::vector<double> row(host.score.size());
  ScoredPairs pairs = host.view(nullptr);
  pairs.first = 0;
  pairs.own = pairs.pairs;
  make_cpu_score_ops<double>()->similarity_rows(options, pairs, &inverse, row.data());
  return row;
}

Results on_cpu(const HostPairs& host, const SimilarityOptions& options, double inverse,
               const std::vector<double>& rows) {
  const auto cpu = make_cpu_score_ops<double>();
  const auto own = static_cast<std::size_t>(host.own);
  Results results{{rows.begin() + host.first, rows.begin() + host.first + host.own},
                  {NAN},
                  std::vector<double>(own, NAN),
                  std::vector<double>(own, NAN)};
  SimilarityTotals totals{};
  const ScoredPairs pairs = host.view(rows.data());
  cpu->similarity_totals(options, pairs, &inverse, &totals, results.value.data());
  cpu->similarity_gradients(options, pairs, &totals, &inverse, results.gradient.data(),
                            results.temperature_part.data());
  return results;
}

Results on_device(const HostPairs& host, const SimilarityOptions& options, double inverse,
                  const std::vector<double>& rows) {
  DeviceArray<double> score(host.score), gold(host.gold), row(rows), factor(std::vector<double>{inverse});
  DeviceArray<double> own_row(host.own), value(1), gradient(host.own), part(host.own);
  DeviceArray<SimilarityTotals> totals(1);
  const ScoredPairs pairs{host.size(), host.first, host.own, score.data(), gold.data(), row.data()};
  similarity_rows(options, pairs, factor.data(), own_row.data(), nullptr);
  similarity_totals(options, pairs, factor.data(), totals.data(), value.data(), nullptr);
  similarity_gradients(options, pairs, totals.data(), factor.data(), gradient.data(), part.data(), nullptr);
  return {own_row.values(), value.values(), gradient.values(), part.values()};
}

void expect_close(const std::vector<double>& result, const std::vector<double>& reference) {
  ASSERT_EQ(result.size(), reference.size());
  double size = 0;
  for (const double x : reference) size = std::isfinite(x) ? std::max(size, std::abs(x)) : size;
  for (std::size_t i = 0; i < result.size(); ++i) {
    if (result[i] == reference[i]) continue;  // −∞ too
    ASSERT_LE(std::abs(result[i] - reference[i]), kDoubleError * size)
        << i << ": " << result[i] << ", the CPU has " << reference[i];
  }
}

void compare(const HostPairs& host, const SimilarityOptions& options, double temperature) {
  const double inverse = 1 / temperature;
  const std::vector<double> rows = rows_on_cpu(host, options, inverse);
  const Results expected = on_cpu(host, options, inverse, rows);
  const Results results = on_device(host, options, inverse, rows);
  expect_close(results.row, expected.row);
  expect_close(results.value, expected.value);
  expect_close(results.gradient, expected.gradient);
  expect_close(results.temperature_part, expected.temperature_part);
}

TEST(SimilarityOnTheDevice, IsTheCpus) {
  in_both_thread_orders([&] {
    for (const SimilarityOptions& options : all_losses()) {
      SCOPED_TRACE(static_cast<int>(options.kind));
      for (const double temperature : {1.0, 0.05, 0.005}) {
        compare(make_pairs(37, 0, 37), options, temperature);
        compare(make_pairs(300, 120, 50), options, temperature);
        compare(make_pairs(1500, 1495, 5), options, temperature);
      }
    }
  });
}

TEST(SimilarityOnTheDevice, OfFewPairsIsTheCpus) {
  HostPairs equal = make_pairs(20, 3, 10), flat = equal;
  equal.gold.assign(20, 1.1);
  flat.score.assign(20, 0.3);
  for (const SimilarityOptions& options : all_losses()) {
    SCOPED_TRACE(static_cast<int>(options.kind));
    compare(equal, options, 0.1);
    compare(flat, options, 0.1);
    compare(make_pairs(1, 0, 1), options, 0.1);
    compare(make_pairs(5, 5, 0), options, 0.1);
    const Results none = on_device(make_pairs(0, 0, 0), options, 10, {});
    EXPECT_EQ(none.value, std::vector<double>{0});
  }
}

TEST(SimilarityOnTheDevice, GivesNaNForNaN) {
  HostPairs host = make_pairs(300, 100, 4);
  host.score[200] = NAN;
  for (const SimilarityOptions& options : all_losses()) {
    const std::vector<double> rows(300, 0.5);
    EXPECT_TRUE(std::isnan(on_device(host, options, 10, rows).value[0]));
  }
}

TEST(SimilarityOnTheDevice, RepeatsItsBits) {
  const HostPairs host = make_pairs(600, 100, 20);
  for (const SimilarityOptions& options : all_losses()) {
    const std::vector<double> rows = rows_on_cpu(host, options, 20);
    const Results once = on_device(host, options, 20, rows), again = on_device(host, options, 20, rows);
    EXPECT_EQ(once.row, again.row);
    EXPECT_EQ(once.value, again.value);
    EXPECT_EQ(once.gradient, again.gradient);
    EXPECT_EQ(once.temperature_part, again.temperature_part);
  }
}

}  // namespace
}  // namespace toller
