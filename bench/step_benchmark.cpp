// A whole training step on the CPU (encode, loss, backward, clip, AdamW; dropout 0.1) against its matrix
// products alone, in turns in one run, and against the product rate that the BLAS reaches on a large square.
//
// Batch: pairs of a query and a document whose lengths are drawn, with a fixed seed, from log-normal
// distributions with medians 12 and 60 (spread 0.5 and 0.6), cut to [3, 64] and [8, 256] tokens.
//
// Counters: tokens_per_second, gflops (of the products), share_of_peak, times_products (step time over
// products time: medians of the pairs of one run).
#include <benchmark/benchmark.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <random>

#include "comm/communicator.h"
#include "device/backend.h"
#include "matrix_products_only.h"
#include "optim/adamw.h"
#include "pairs_split.h"
#include "train/training_step.h"

namespace toller {
namespace {

constexpr std::int32_t kVocabulary = 16384;

double seconds_of(const auto& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

/// The step's default, or what the environment variable CHUNK_TOKENS says, to compare.
std::int64_t chunk_tokens() {
  const char* value = std::getenv("CHUNK_TOKENS");
  return value != nullptr ? std::atoll(value) : 1024;
}

/// Products per second of a 1,536-square fp32 product with all threads.
double peak_flops() {
  constexpr std::int64_t kSize = 1536;
  std::vector<float> a(kSize * kSize, 0.5f), b(a), c(a);
  double best = 0;
  for (int i = 0; i < 8; ++i) {
    const double seconds = seconds_of([&] {
      blas_gemm(CblasNoTrans, CblasTrans, kSize, kSize, kSize, 1.f, a.data(), kSize, b.data(), kSize, 0.f,
                c.data(), kSize);
    });
    best = std::max(best, 2.0 * kSize * kSize * kSize / seconds);
  }
  return best;
}

TokenStore pairs_store(std::int32_t pairs) {
  std::mt19937 generator(1);
  TokenStore store;
  store.path = "pairs";
  store.vocabulary_size = kVocabulary;
  store.max_length = 256;
  const auto fill = [&](TokenTable& table, double median_length, double spread, int least, int most) {
    std::lognormal_distribution<double> length(std::log(median_length), spread);
    std::uniform_int_distribution<std::int32_t> token(4, kVocabulary - 1);
    for (std::int32_t row = 0; row < pairs; ++row) {
      std::vector<std::int32_t> tokens(
          static_cast<std::size_t>(std::clamp(static_cast<int>(length(generator)), least, most)));
      for (std::int32_t& id : tokens) id = token(generator);
      table.append(tokens, std::to_string(row));
    }
  };
  fill(store.queries, 12, 0.5, 3, 64);
  fill(store.documents, 60, 0.6, 8, 256);
  add_pairs(store, pairs);
  return store;
}

/// One model with its optimiser, stepping over batches of a store.
class Runner {
 public:
  Runner(const EncoderConfig& config, const TokenStore& store, std::int64_t batch)
      : config_(config),
        table_(config),
        store_(store),
        backend_(make_cpu_backend<float>(self_)),
        loss_(make_infonce<float>(*backend_.ops, *backend_.score_ops, {})),
        plan_(store, store.split("train"), {.seed = 1, .global_batch = batch}),
        step_(config, table_, *backend_.ops, *backend_.communicator,
              {.max_length = 256, .chunk_tokens = chunk_tokens()}),
        adamw_(*backend_.ops, {{0, table_.size(), true}}, {}),
        products_encoder_(config, table_, products_ops_),
        products_arena_(products_ops_),
        products_scratch_(products_ops_),
        parameters_(static_cast<std::size_t>(table_.size())),
        gradients_(parameters_.size()) {
    initialize_parameters(config, table_, 1, parameters_.data());
  }

  /// The step; returns what was encoded.
  StepWork step(std::int64_t index) {
    backend_.ops->zero(gradients_.data(), table_.size());
    double loss = 0;
    const StepWork work =
        step_.run({store_, plan_, *loss_}, plan_.batch(index), index, {parameters_.data(), &log_temperature_},
                  1, {gradients_.data(), &loss}, nullptr);
    if (!std::isfinite(loss)) std::abort();
    adamw_.update(index + 1, 1e-4, gradients_.data(), parameters_.data(), nullptr);
    return work;
  }

  /// The matrix products of the same step, in the same chunks.
  void products(std::int64_t index) {
    const GlobalBatch batch = plan_.batch(index);
    const std::int64_t b = batch.size(), m = batch.document_offsets.back(), d = config_.hidden_size;
    products_arena_.reset();
    float* embedding = products_arena_.take<float>((b + m) * d);
    float* scores = products_arena_.take<float>(b * m);
    const std::vector<PackedBatch> chunks = pack(batch);
    std::vector<Activations<float>> kept(chunks.size());
    float* next = embedding;
    for (std::size_t c = 0; c < chunks.size(); ++c) {
      products_encoder_.forward(parameters_.data(), input_of(chunks[c]), {}, products_arena_, kept[c], next);
      next += chunks[c].text_count() * d;
    }
    products_ops_.gemm(false, true, b, m, d, embedding, d, embedding + b * d, d, 0, scores, m);
    products_ops_.gemm(false, false, b, d, m, scores, m, embedding + b * d, d, 0, embedding, d);
    products_ops_.gemm(true, false, m, d, b, scores, m, embedding, d, 0, embedding + b * d, d);
    for (std::size_t c = 0; c < chunks.size(); ++c) {
      products_scratch_.reset();
      products_encoder_.backward(parameters_.data(), input_of(chunks[c]), {}, products_scratch_, kept[c],
                                 embedding, gradients_.data());
    }
  }

 private:
  std::vector<PackedBatch> pack(const GlobalBatch& batch) const {
    std::vector<PackedBatch> chunks(1);
    const auto add = [&](std::span<const std::int32_t> row) {
      if (chunks.back().token_count() >= chunk_tokens()) chunks.emplace_back();
      chunks.back().add(row, 256, 0);
    };
    for (const std::int32_t row : batch.queries) add(store_.queries.row(row));
    for (const std::int32_t row : batch.documents) add(store_.documents.row(row));
    return chunks;
  }
  PackedSequences input_of(const PackedBatch& chunk) const { return chunk.sequences(config_.max_tokens()); }

  EncoderConfig config_;
  ParameterTable table_;
  const TokenStore& store_;
  SelfCommunicator self_;
  Backend<float> backend_;
  std::unique_ptr<Loss<float>> loss_;
  BatchPlan plan_;
  TrainingStep<float> step_;
  AdamW<float> adamw_;
  MatrixProductsOnly<float> products_ops_;
  Encoder<float> products_encoder_;
  Arena products_arena_, products_scratch_;
  std::vector<float> parameters_, gradients_;
  float log_temperature_ = std::log(0.05f);
};

void training_step(benchmark::State& state, const char* preset, std::int64_t batch, double dropout) {
  EncoderConfig config = preset_config(preset);
  config.vocabulary_size = kVocabulary;
  config.hidden_dropout = config.attention_dropout = dropout;
  const TokenStore store = pairs_store(4096);
  Runner runner(config, store, batch);
  const double peak = peak_flops();
  runner.step(0);
  runner.products(0);
  double tokens = 0, flops = 0, step_total = 0;
  std::vector<double> ratios, product_seconds;
  std::int64_t index = 0;
  for (auto _ : state) {
    StepWork result;
    const double products = seconds_of([&] { runner.products(index); });
    const double step = seconds_of([&] { result = runner.step(index); });
    state.SetIterationTime(step);
    ratios.push_back(step / products);
    product_seconds.push_back(products);
    tokens += static_cast<double>(result.tokens);
    flops += result.flops;
    step_total += step;
    ++index;
  }
  state.counters["threads"] = omp_get_max_threads();
  state.counters["tokens_per_second"] = tokens / step_total;
  state.counters["gflops"] = flops / step_total / 1e9;
  state.counters["peak_gflops"] = peak / 1e9;
  state.counters["share_of_peak"] = flops / step_total / peak;
  state.counters["products_ms"] = 1e3 * median(product_seconds);
  state.counters["times_products"] = median(ratios);
}

BENCHMARK_CAPTURE(training_step, tiny_64, "tiny", 64, 0.1)->UseManualTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(training_step, mini_64, "mini", 64, 0.1)->UseManualTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(training_step, mini_64_no_dropout, "mini", 64, 0.0)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(training_step, minilm_64, "minilm", 64, 0.1)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(training_step, base_16, "base", 16, 0.1)->UseManualTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace toller

BENCHMARK_MAIN();
