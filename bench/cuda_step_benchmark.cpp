// Whole training steps on a GPU, in bfloat16 with dropout 0.1: encode, loss, backward, clip, AdamW, over
// pairs of the lengths that bench/pytorch_step.py takes (text_lengths.h); and InfoNCE alone over a large
// batch.
//
// A step's time is that between the arrivals of two steps' results at the host, with the next step queued
// meanwhile, as a run has it. Step s takes the pairs s · n … s · n + n − 1, from the beginning again after
// the last whole batch.
//
// Counters of a step: tokens_per_second (no padding there is), tflops and utilisation (matrix products of the
// encoder, forward and backward once each, over product_tflops), memory_gib. Where activations do not fit, a
// micro-batch computes the forward pass twice, which does not count. Of the loss: tflops of its four products
// (scores, scores again, two gradients), share_of_products of the rate measured here, memory_gib beyond the
// embeddings and their gradients.
//
// STEP_TRIAL=1 makes everything so small that it runs on the CPU (tests/host_cuda): a trial, no measurement.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <deque>
#include <memory>
#include <random>

#include "benchmark_program.h"
#include "comm/communicator.h"
#include "cuda/cuda_backends.h"
#include "optim/adamw.h"
#include "pairs_split.h"
#include "text_lengths.h"
#include "train/gradient_sums.h"
#include "train/training_step.h"

namespace toller {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int32_t kVocabulary = 30522;
constexpr double kTemperature = 0.05;

bool is_trial() {
  static const bool trial = std::getenv("STEP_TRIAL") != nullptr;
  return trial;
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

GpuBackends& gpus() {
  static const auto backends = make_cuda_backends({});
  return *backends;
}

/// Pairs with the measured lengths and random tokens.
TokenStore pairs_store(const TextLengths& lengths) {
  std::mt19937 generator(1);
  std::uniform_int_distribution<std::int32_t> token(4, kVocabulary - 1);
  TokenStore store;
  store.path = text_lengths_file();
  store.vocabulary_size = kVocabulary;
  store.max_length = 512;
  const auto fill = [&](TokenTable& table, const std::vector<std::int32_t>& all) {
    for (std::size_t row = 0; row < all.size(); ++row) {
      std::vector<std::int32_t> tokens(static_cast<std::size_t>(is_trial() ? 1 + all[row] / 16 : all[row]));
      for (std::int32_t& id : tokens) id = token(generator);
      table.append(tokens, std::to_string(row));
    }
  };
  fill(store.queries, lengths.query);
  fill(store.documents, lengths.document);
  add_pairs(store, static_cast<std::int32_t>(lengths.query.size()));
  return store;
}

EncoderConfig config_of(const char* preset) {
  EncoderConfig config = preset_config(preset);
  if (is_trial()) {
    config.layers = 2;
    config.hidden_size = 64;
    config.heads = 2;
    config.intermediate_size = 128;
  }
  config.vocabulary_size = kVocabulary;
  return config;
}

/// A model with its optimiser on the GPU, as the trainer has it.
class Runner {
 public:
  Runner(const EncoderConfig& config, const TokenStore& store, std::int64_t pairs, std::int64_t micro_batch)
      : store_(store),
        pairs_(pairs),
        table_(config),
        backend_(gpus().make_bfloat16({.communicator = "mpi"}, self_)),
        loss_(make_infonce<BFloat16>(*backend_.ops, *backend_.score_ops, {})),
        plan_(store, store.split("train"), {.seed = 1, .global_batch = pairs}),
        step_(config, table_, *backend_.ops, *backend_.communicator,
              {.max_length = 512, .micro_batch = micro_batch}),
        sums_(gradient_buckets(config, table_, 1 << 20), *backend_.communicator),
        adamw_(*backend_.ops, {{0, table_.size(), true}}, {}),
        parameters_(*backend_.ops, table_.size()),
        gradients_(*backend_.ops, table_.size()),
        copy_(*backend_.ops, table_.size()),
        value_(*backend_.ops, 1),
        batches_(std::ssize(store.queries.ids) / pairs) {
    std::vector<float> values(static_cast<std::size_t>(table_.size()));
    initialize_parameters(config, table_, 1, values.data());
    values[table_.at("loss.log_temperature").offset] = static_cast<float>(std::log(kTemperature));
    parameters_.write(values);
    backend_.ops->convert(table_.size(), parameters_.data(), copy_.data());
  }

  /// Queues a step.
  StepWork queue() {
    ++steps_;
    backend_.ops->zero(gradients_.data(), table_.size());
    const float* log_temperature = parameters_.data() + table_.at("loss.log_temperature").offset;
    const StepWork work =
        step_.run({store_, plan_, *loss_}, batch(steps_ - 1), steps_, {copy_.data(), log_temperature}, 1,
                  {gradients_.data(), value_.data()}, &sums_);
    adamw_.update(steps_, 1e-5, gradients_.data(), parameters_.data(), copy_.data());
    pending_.push_back(backend_.ops->start_read(value_.data(), sizeof(double)));
    return work;
  }

  /// Waits for the results of the step before the last `left`.
  void finish(std::size_t left) {
    while (pending_.size() > left) {
      double loss = 0;
      backend_.ops->finish_read(pending_.front(), &loss);
      pending_.pop_front();
      if (!std::isfinite(loss)) throw std::runtime_error("the loss is not finite");
    }
  }

  double memory_bytes(std::int64_t micro_batch) const {
    const std::int64_t parameters = table_.size() * (4 * 4 + 2);
    return static_cast<double>(parameters +
                               step_.memory_needed({store_, plan_, *loss_}, batch(0), micro_batch).total());
  }

  static std::int64_t free_bytes() {
    SelfCommunicator self;
    return gpus().make_bfloat16({.communicator = "mpi"}, self).ops->free_bytes();
  }

 private:
  GlobalBatch batch(std::int64_t step) const {
    GlobalBatch batch;
    const std::int64_t first = step % batches_ * pairs_;
    for (std::int64_t i = 0; i < pairs_; ++i) {
      const auto row = static_cast<std::int32_t>(first + i);
      batch.queries.push_back(row);
      batch.documents.push_back(row);
      batch.document_offsets.push_back(i + 1);
      batch.grades.push_back(1);
      batch.positives.push_back(1);
      batch.split_rows.push_back(row);
    }
    return batch;
  }

  const TokenStore& store_;
  std::int64_t pairs_;
  ParameterTable table_;
  SelfCommunicator self_;
  Backend<BFloat16> backend_;
  std::unique_ptr<Loss<BFloat16>> loss_;
  BatchPlan plan_;
  TrainingStep<BFloat16> step_;
  GradientSums<BFloat16> sums_;
  AdamW<BFloat16> adamw_;
  DeviceBuffer<float> parameters_, gradients_;
  DeviceBuffer<BFloat16> copy_;
  DeviceBuffer<double> value_;
  std::int64_t batches_, steps_ = 0;
  std::deque<std::int64_t> pending_;
};

/// Rate of a square product in bfloat16, with results in float as the encoder's are stored.
double product_flops() {
  static const double rate = [] {
    const std::int64_t size = is_trial() ? 32 : 8192;
    SelfCommunicator self;
    const Backend<BFloat16> backend = gpus().make_bfloat16({.communicator = "mpi"}, self);
    Ops<BFloat16>& ops = *backend.ops;
    const std::vector<BFloat16> ones(static_cast<std::size_t>(size * size), BFloat16{0x3F80});
    DeviceBuffer<BFloat16> a(ops, size * size), b(ops, size * size), c(ops, size * size);
    a.write(ones);
    b.write(ones);
    float first = 0;
    const auto run = [&](int times) {
      const auto begin = Clock::now();
      for (int i = 0; i < times; ++i) {
        ops.linear(size, size, size, a.data(), b.data(), nullptr, c.data());
      }
      ops.copy_to_host(&first, c.data(), sizeof(first));
      return seconds_since(begin) / times;
    };
    run(2);
    double best = run(10);
    for (int i = 0; i < 4; ++i) best = std::min(best, run(10));
    return 2.0 * static_cast<double>(size) * static_cast<double>(size) * static_cast<double>(size) / best;
  }();
  return rate;
}

/// The largest micro-batch of pairs · 2⁻ⁱ that fits; 0: the whole batch does.
std::int64_t fitting_micro_batch(const EncoderConfig& config, const TokenStore& store, std::int64_t pairs) {
  Runner runner(config, store, pairs, 0);
  const double room = 0.92 * static_cast<double>(Runner::free_bytes());
  for (std::int64_t micro_batch = 0; micro_batch != 1;
       micro_batch = (micro_batch == 0 ? pairs : micro_batch) / 2) {
    if (runner.memory_bytes(micro_batch) < room) return micro_batch;
  }
  return 1;
}

void training_step(benchmark::State& state, const char* preset, std::int64_t pairs) {
  const EncoderConfig config = config_of(preset);
  const TokenStore store = pairs_store(read_text_lengths(text_lengths_file()));
  if (is_trial()) pairs = 4;
  const std::int64_t micro_batch = fitting_micro_batch(config, store, pairs);
  Runner runner(config, store, pairs, micro_batch);
  for (int i = 0; i < (is_trial() ? 1 : 4); ++i) runner.queue();
  runner.finish(1);
  double tokens = 0, flops = 0, seconds = 0;
  auto begin = Clock::now();
  for (auto _ : state) {
    const StepWork work = runner.queue();
    runner.finish(1);
    const double taken = seconds_since(begin);
    begin = Clock::now();
    state.SetIterationTime(taken);
    tokens += static_cast<double>(work.tokens);
    flops += work.flops * (micro_batch > 0 ? 0.75 : 1);
    seconds += taken;
  }
  runner.finish(0);
  state.counters["tokens_per_second"] = tokens / seconds;
  state.counters["tflops"] = flops / seconds / 1e12;
  state.counters["product_tflops"] = product_flops() / 1e12;
  state.counters["utilisation"] = flops / seconds / product_flops();
  state.counters["memory_gib"] = runner.memory_bytes(micro_batch) / (1 << 30);
  state.counters["micro_batch"] = static_cast<double>(micro_batch);
}

/// n rows of random directions.
std::vector<float> unit_rows(std::int64_t n, std::int64_t dimension, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> rows(static_cast<std::size_t>(n * dimension));
  for (std::int64_t i = 0; i < n; ++i) {
    double squares = 0;
    for (std::int64_t j = 0; j < dimension; ++j) {
      rows[i * dimension + j] = normal(generator);
      squares += static_cast<double>(rows[i * dimension + j]) * rows[i * dimension + j];
    }
    for (std::int64_t j = 0; j < dimension; ++j)
      rows[i * dimension + j] /= static_cast<float>(std::sqrt(squares));
  }
  return rows;
}

void infonce(benchmark::State& state, std::int64_t batch, std::int64_t dimension, bool symmetric) {
  if (is_trial()) batch = 70, dimension = 64;
  SelfCommunicator self;
  const Backend<BFloat16> backend = gpus().make_bfloat16({.communicator = "mpi"}, self);
  Ops<BFloat16>& ops = *backend.ops;
  const auto loss = make_infonce<BFloat16>(ops, *backend.score_ops, {.symmetric = symmetric});
  const std::int64_t n = batch * dimension;
  DeviceBuffer<float> exact(ops, n), d_query(ops, n), d_document(ops, n), log_temperature(ops, 1);
  DeviceBuffer<BFloat16> query(ops, n), document(ops, n);
  DeviceBuffer<double> value(ops, 1), d_log_temperature(ops, 1);
  log_temperature.write(std::vector<float>{static_cast<float>(std::log(kTemperature))});
  exact.write(unit_rows(batch, dimension, 1));
  ops.convert(n, exact.data(), query.data());
  exact.write(unit_rows(batch, dimension, 2));
  ops.convert(n, exact.data(), document.data());
  std::vector<std::int64_t> offsets{0}, none(static_cast<std::size_t>(batch + 1), 0);
  std::vector<std::int32_t> positive;
  for (std::int64_t i = 0; i < batch; ++i) {
    positive.push_back(static_cast<std::int32_t>(i));
    offsets.push_back(i + 1);
  }
  const auto run = [&] {
    ops.begin_step();
    loss->compute({.queries = batch,
                   .global_queries = batch,
                   .candidates = batch,
                   .dimension = dimension,
                   .query = query.data(),
                   .document = document.data(),
                   .positive_offsets = offsets,
                   .positive = positive,
                   .excluded_offsets = none,
                   .excluded = {}},
                  log_temperature.data(), *backend.communicator,
                  {d_query.data(), d_document.data(), d_log_temperature.data(), value.data()});
    double result = 0;
    ops.copy_to_host(&result, value.data(), sizeof(result));
    if (!std::isfinite(result)) throw std::runtime_error("the loss is not finite");
  };
  run();
  double seconds = 0;
  for (auto _ : state) {
    const auto begin = Clock::now();
    run();
    state.SetIterationTime(seconds_since(begin));
    seconds += seconds_since(begin);
  }
  const double flops = 8.0 * static_cast<double>(batch) * static_cast<double>(batch) *
                       static_cast<double>(dimension) * static_cast<double>(state.iterations());
  Arena memory;
  loss->take_memory({batch, batch, batch}, memory);
  state.counters["tflops"] = flops / seconds / 1e12;
  state.counters["product_tflops"] = product_flops() / 1e12;
  state.counters["share_of_products"] = flops / seconds / product_flops();
  state.counters["memory_gib"] = static_cast<double>(memory.peak()) / (1 << 30);
}

template <class Body>
void add(const char* name, Body body) {
  auto* benchmark = add_benchmark(name, body)->Unit(benchmark::kMillisecond);
  if (is_trial()) benchmark->Iterations(2);
}

void prepare() {
  if (const std::string reason = gpus().why_none(); !reason.empty()) throw std::runtime_error(reason);
  using State = benchmark::State;
  add("step/base/256", [](State& state) { training_step(state, "base", 256); });
  add("step/base/1024", [](State& state) { training_step(state, "base", 1024); });
  add("step/base/4096", [](State& state) { training_step(state, "base", 4096); });
  add("step/minilm/256", [](State& state) { training_step(state, "minilm", 256); });
  add("step/mini/256", [](State& state) { training_step(state, "mini", 256); });
  add("infonce/65536", [](State& state) { infonce(state, 65536, 768, false); });
  add("infonce/65536/symmetric", [](State& state) { infonce(state, 65536, 768, true); });
  add("infonce/8192", [](State& state) { infonce(state, 8192, 768, false); });
}

}  // namespace
}  // namespace toller

int main(int argc, char** argv) {
  return toller::run_benchmarks("bench_cuda_step", argc, argv, toller::is_trial(), toller::prepare);
}
