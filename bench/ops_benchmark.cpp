// The CPU operations one by one, at the shapes of a `mini` step over 4,096 tokens (sequences of 64).
// Counters: gflops where products dominate, gb_per_second (bytes that must move at least once) where memory
// does. Each result is compared with a plain loop in fp64 once, before it is timed.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdlib>
#include <numeric>
#include <random>
#include <vector>

#include "device/ops.h"

namespace toller {
namespace {

constexpr std::int64_t kTokens = 4096, kLength = 64, kHidden = 256, kInner = 1024, kHeads = 4;

std::vector<float> random_floats(std::int64_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, 0.5f);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = normal(generator);
  return values;
}

struct Pack {
  Pack() : offsets(kTokens / kLength + 1), rows(kTokens) {
    for (std::size_t i = 0; i < offsets.size(); ++i) offsets[i] = static_cast<std::int32_t>(i * kLength);
    std::iota(rows.begin(), rows.end(), 0);
    sequences = {.offsets = offsets.data(),
                 .global_row = rows.data(),
                 .count = kTokens / kLength,
                 .tokens = kTokens,
                 .max_length = kLength,
                 .length_limit = 512};
  }
  std::vector<std::int32_t> offsets;
  std::vector<std::int64_t> rows;
  PackedSequences sequences;
};

void require_close(double expected, double found, const char* what) {
  if (std::abs(expected - found) <= 1e-4 * (1 + std::abs(expected))) return;
  std::fprintf(stderr, "%s: expected %g, found %g\n", what, expected, found);
  std::abort();
}

void linear(benchmark::State& state) {
  const std::int64_t in = state.range(0), out = state.range(1);
  const auto ops = make_cpu_ops<float>();
  const auto x = random_floats(kTokens * in, 1), w = random_floats(out * in, 2), bias = random_floats(out, 3);
  std::vector<float> y(kTokens * out);
  for (auto _ : state) ops->linear(kTokens, in, out, x.data(), w.data(), bias.data(), y.data());
  double expected = bias[out - 1];
  for (std::int64_t i = 0; i < in; ++i) expected += double{x[(kTokens - 1) * in + i]} * w[(out - 1) * in + i];
  require_close(expected, y.back(), "linear");
  state.counters["gflops"] =
      benchmark::Counter(2e-9 * kTokens * in * out, benchmark::Counter::kIsIterationInvariantRate);
}

void linear_gelu(benchmark::State& state) {
  const auto ops = make_cpu_ops<float>();
  const auto x = random_floats(kTokens * kHidden, 1), w = random_floats(kInner * kHidden, 2),
             bias = random_floats(kInner, 3);
  std::vector<float> pre(kTokens * kInner), y(pre);
  for (auto _ : state) {
    ops->linear_gelu(kTokens, kHidden, kInner, x.data(), w.data(), bias.data(), pre.data(), y.data());
  }
  const double p = pre.back();
  require_close(0.5 * p * (1 + std::erf(p / std::sqrt(2.0))), y.back(), "linear_gelu");
  state.counters["gflops"] =
      benchmark::Counter(2e-9 * kTokens * kHidden * kInner, benchmark::Counter::kIsIterationInvariantRate);
}

void residual_norm(benchmark::State& state) {
  const Dropout dropout{static_cast<double>(state.range(0)) / 100, 1, 1, 1};
  const auto ops = make_cpu_ops<float>();
  const Pack pack;
  const auto x = random_floats(kTokens * kHidden, 1), residual = random_floats(kTokens * kHidden, 2);
  const std::vector<float> gain(kHidden, 1), bias(kHidden, 0);
  std::vector<float> sum(x), mean(kTokens), rstd(kTokens), y(x.size());
  for (auto _ : state) {
    state.PauseTiming();
    sum = x;  // the operation works in place
    state.ResumeTiming();
    ops->residual_norm(pack.sequences, kHidden, sum.data(), bias.data(), residual.data(), gain.data(),
                       bias.data(), 1e-12f, dropout, mean.data(), rstd.data(), y.data());
  }
  double total = 0, squares = 0;
  for (std::int64_t i = 0; i < kHidden; ++i) {
    total += y[i];
    squares += double{y[i]} * y[i];
  }
  require_close(0, total, "residual_norm mean");
  require_close(kHidden, squares, "residual_norm variance");
  state.counters["gb_per_second"] =
      benchmark::Counter(4e-9 * 4 * kTokens * kHidden, benchmark::Counter::kIsIterationInvariantRate);
}

void attention(benchmark::State& state) {
  const Dropout dropout{static_cast<double>(state.range(0)) / 100, 1, 1, 1};
  const bool backward = state.range(1) != 0;
  const auto ops = make_cpu_ops<float>();
  const Pack pack;
  const auto qkv = random_floats(kTokens * 3 * kHidden, 1), dout = random_floats(kTokens * kHidden, 2);
  std::vector<float> logsumexp(kTokens * kHeads), out(kTokens * kHidden), dqkv(qkv.size());
  ops->attention(pack.sequences, kHidden, kHeads, qkv.data(), dropout, logsumexp.data(), out.data());
  double sum = 0;  // of e^score over the keys of token 0, head 0
  for (std::int64_t j = 0; j < kLength; ++j) {
    double score = 0;
    for (std::int64_t i = 0; i < kHidden / kHeads; ++i)
      score += double{qkv[i]} * qkv[j * 3 * kHidden + kHidden + i];
    sum += std::exp(score / std::sqrt(kHidden / kHeads));
  }
  require_close(std::log(sum), logsumexp[0], "attention log-sum-exp");
  for (auto _ : state) {
    if (backward) {
      ops->attention_backward(pack.sequences, kHidden, kHeads, qkv.data(), out.data(), logsumexp.data(),
                              dout.data(), dropout, dqkv.data());
    } else {
      ops->attention(pack.sequences, kHidden, kHeads, qkv.data(), dropout, logsumexp.data(), out.data());
    }
  }
  const double products = backward ? 5 : 2;
  state.counters["gflops"] = benchmark::Counter(2e-9 * products * kTokens * kLength * kHidden,
                                                benchmark::Counter::kIsIterationInvariantRate);
}

void adamw(benchmark::State& state) {
  constexpr std::int64_t kSize = 1 << 22;
  const auto ops = make_cpu_ops<float>();
  const auto gradient = random_floats(kSize, 1);
  std::vector<float> parameter(kSize, 1.f), m(kSize), v(kSize);
  const DecaySlice slices[] = {{0, kSize, true}};
  ops->adamw(slices, gradient.data(), {.learning_rate = 0.1, .step = 1}, {}, parameter.data(), m.data(),
             v.data(), nullptr);
  require_close(gradient[0] > 0 ? 0.9 : 1.1, parameter[0], "adamw: the first step has the size of the rate");
  for (auto _ : state) {
    ops->adamw(slices, gradient.data(), {.learning_rate = 1e-9, .step = 2}, {}, parameter.data(), m.data(),
               v.data(), nullptr);
  }
  state.counters["gb_per_second"] =
      benchmark::Counter(4e-9 * 7 * kSize, benchmark::Counter::kIsIterationInvariantRate);
}

BENCHMARK(linear)
    ->Args({256, 768})
    ->Args({256, 256})
    ->Args({1024, 256})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(linear_gelu)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(residual_norm)->Arg(0)->Arg(10)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(attention)->ArgsProduct({{0, 10}, {0, 1}})->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(adamw)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace toller

BENCHMARK_MAIN();
