// The CUDA kernels one by one, at the shapes of a step of `base` (hidden 768, inner 3,072) over 256 pairs of
// the lengths that the step benchmark has (text_lengths.h): some 41,000 tokens.
//
// Counters: gb_per_second and tflops of the bytes and matrix products that the sources' header comments
// count, and roofline_percent: the time that those need at the rates measured at the start of this program (a
// copy of 1 GiB; square products of 8,192 in bf16, of 4,096 in float), as a share of the time taken. What
// counts as bytes is what must come from memory or go there at least once: position rows, type row and
// parameters of norms, which stay in the caches, do not. Exponentials and the integer operations of the
// dropout masks are not in the roofline. A tile of scores may lie in the second-level cache and so be faster
// than memory. The backward pass of attention is counted as it is done, with 7 products (14 FLOP a pair and
// column); the gradients alone need 5.
//
// Kernels whose cost is that of a launch (scalars, pairs of scores, lines of scores) are left out. Results
// are looked at once for NaN and for zeros; that they are right is for the tests.
//
// KERNEL_TOKENS=70 makes everything so small that it runs on the CPU (tests/host_cuda): a trial of sizes and
// workspaces, not a measurement.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>

#include "benchmark_program.h"
#include "cuda/attention.cuh"
#include "cuda/column_sums.cuh"
#include "cuda/elementwise.cuh"
#include "cuda/embedding.cuh"
#include "cuda/gelu.cuh"
#include "cuda/norm.cuh"
#include "cuda/optimizer.cuh"
#include "cuda/pooling.cuh"
#include "cuda/score_tiles.cuh"
#include "cuda_measure.h"
#include "text_lengths.h"

namespace toller {
namespace {

constexpr std::int64_t kFullTokens = 40960, kHidden = 768, kInner = 3072, kVocabulary = 30522;
constexpr std::int64_t kPairs = 256, kMaxPositions = 2048, kParameters = 110'000'000;

std::int64_t tokens_wanted() {
  static const char* value = std::getenv("KERNEL_TOKENS");
  return value != nullptr ? std::max<std::int64_t>(1, std::atoll(value)) : kFullTokens;
}

/// A size of the full measurement, or its part in a trial.
std::int64_t scaled(std::int64_t size) {
  return std::max<std::int64_t>(1, size * std::min(tokens_wanted(), kFullTokens) / kFullTokens);
}
bool is_trial() {
  return tokens_wanted() < kFullTokens;
}

const DeviceRates& rates() {
  static const DeviceRates measured = [] {
    const std::int64_t size = is_trial() ? 32 : 8192;
    return DeviceRates{.bytes_per_second = measure_copy(scaled(std::int64_t{1} << 30)),
                       .bf16_flops = measure_product<bfloat16>(size),
                       .float_flops = measure_product<float>(size / 2)};
  }();
  return measured;
}

/// Times launch(), which does `work`; `check` looks at its results. T: the type of the matrix products.
template <class T>
void measure(benchmark::State& state, const Work& work, const std::function<void()>& launch,
             const std::function<void()>& check) {
  const double least = rates().least_seconds<T>(work);
  EventTimer timer;
  launch();
  check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  check();
  const double estimate = timer.best_seconds(is_trial() ? 1 : 3, launch);
  const int launches = static_cast<int>(std::clamp(5e-3 / estimate, 1.0, is_trial() ? 1.0 : 200.0));
  std::vector<double> seconds;
  for (auto _ : state) {
    seconds.push_back(timer.seconds(launches, launch));
    state.SetIterationTime(seconds.back());
  }
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2),
                   seconds.end());
  const double median = seconds[seconds.size() / 2];
  state.counters["gb_per_second"] = work.bytes / median / 1e9;
  if (work.flops > 0) state.counters["tflops"] = work.flops / median / 1e12;
  state.counters["roofline_percent"] = 100 * least / median;
}

/// Sequences in device memory with all that the kernels want to know about them.
class Batch {
 public:
  explicit Batch(const std::vector<std::int32_t>& lengths)
      : offsets_host_(offsets_of(lengths)),
        tokens_host_(random_tokens(offsets_host_.back())),
        places_host_(places_of(lengths)),
        offsets_(offsets_host_),
        tokens_(tokens_host_),
        places_(places_host_),
        global_row_(numbers_below(offsets_host_.back())),
        tiles_(offsets_host_.back() / kAttentionTile + static_cast<std::int64_t>(lengths.size())),
        tile_count_(1) {
    sequences = {.offsets = offsets_.data(),
                 .global_row = global_row_.data(),
                 .count = static_cast<std::int64_t>(lengths.size()),
                 .tokens = offsets_host_.back(),
                 .max_length = *std::max_element(lengths.begin(), lengths.end()),
                 .length_limit = kMaxPositions};
    rows = {sequences.tokens, tokens_.data(), places_.data(), global_row_.data()};
    work = {tiles_.data(), tile_count_.data()};
    build_attention_work(sequences, work, nullptr);
    for (const std::int32_t length : lengths) squares += double{1} * length * length;
  }

  PackedSequences sequences;
  EmbeddingRows rows;
  AttentionWork work;
  double squares = 0;  ///< Σ length²

  const std::vector<std::int32_t>& tokens() const { return tokens_host_; }
  const std::vector<std::int32_t>& places() const { return places_host_; }

 private:
  static std::vector<std::int32_t> offsets_of(const std::vector<std::int32_t>& lengths) {
    std::vector<std::int32_t> offsets(lengths.size() + 1);
    std::partial_sum(lengths.begin(), lengths.end(), offsets.begin() + 1);
    return offsets;
  }
  static std::vector<std::int32_t> random_tokens(std::int32_t count) {
    std::mt19937 generator(1);
    std::uniform_int_distribution<std::int32_t> token(0, kVocabulary - 1);
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(count));
    for (std::int32_t& id : tokens) id = token(generator);
    return tokens;
  }
  static std::vector<std::int32_t> places_of(const std::vector<std::int32_t>& lengths) {
    std::vector<std::int32_t> places;
    for (const std::int32_t length : lengths) {
      for (std::int32_t place = 0; place < length; ++place) places.push_back(place);
    }
    return places;
  }
  static std::vector<std::int64_t> numbers_below(std::int32_t count) {
    std::vector<std::int64_t> numbers(static_cast<std::size_t>(count));
    std::iota(numbers.begin(), numbers.end(), 0);
    return numbers;
  }

  std::vector<std::int32_t> offsets_host_, tokens_host_, places_host_;
  DeviceValues<std::int32_t> offsets_, tokens_, places_;
  DeviceValues<std::int64_t> global_row_;
  DeviceValues<AttentionTile> tiles_;
  DeviceValues<std::int32_t> tile_count_;
};

/// 256 pairs of the lengths that the file has, or sequences of one length, about 41,000 tokens.
Batch make_batch(std::int64_t fixed_length = 0) {
  std::vector<std::int32_t> lengths;
  if (fixed_length > 0) {
    const std::int64_t length = std::min(fixed_length, tokens_wanted());
    lengths.assign(static_cast<std::size_t>(std::max<std::int64_t>(1, tokens_wanted() / length)),
                   static_cast<std::int32_t>(length));
    return Batch(lengths);
  }
  const TextLengths file = read_text_lengths(text_lengths_file());
  const std::size_t pairs = std::min(static_cast<std::size_t>(scaled(kPairs)), file.query.size());
  for (const std::vector<std::int32_t>* side : {&file.query, &file.document}) {
    for (std::size_t i = 0; i < pairs; ++i) {
      lengths.push_back(static_cast<std::int32_t>(std::min<std::int64_t>((*side)[i], tokens_wanted())));
    }
  }
  return Batch(lengths);
}

/// A mask of its own for every launch, so that what is overwritten in place does not grow without end.
class DropoutSequence {
 public:
  explicit DropoutSequence(double rate) : rate_(rate) {}
  Dropout next() { return {rate_, 1, ++step_, 1}; }

 private:
  double rate_;
  std::uint32_t step_ = 0;
};

// ---- embedding and norm

template <class T>
struct NormParameters {
  RandomValues<T> gain{kHidden, 11}, bias{kHidden, 12};
  DeviceValues<float> dgain{kHidden}, dbias{kHidden};
};

template <class T>
void embed_forward(benchmark::State& state, double rate) {
  const Batch batch = make_batch();
  const std::int64_t n = batch.sequences.tokens;
  RandomValues<T> word(kVocabulary * kHidden, 1), position(kMaxPositions * kHidden, 2), type(kHidden, 3);
  NormParameters<T> norm;
  DeviceValues<T> sum(n * kHidden), y(n * kHidden);
  DeviceValues<float> mean(n), rstd(n);
  DropoutSequence dropout(rate);
  measure<T>(
      state, {.bytes = 3.0 * sizeof(T) * n * kHidden},
      [&] {
        embed<T>(batch.rows, kHidden, word.data(), position.data(), type.data(), norm.gain.data(),
                 norm.bias.data(), 1e-12f, dropout.next(), sum.data(), mean.data(), rstd.data(), y.data(),
                 nullptr);
      },
      [&] { require_results(y, "y"); });
}

template <class T>
void embed_backward(benchmark::State& state, double rate) {
  const Batch batch = make_batch();
  const std::int64_t n = batch.sequences.tokens;
  RandomValues<T> dy(n * kHidden, 1), sum(n * kHidden, 2);
  RandomValues<float> mean(n, 3), rstd(n, 4);
  NormParameters<T> norm;
  DeviceValues<float> dtype(kHidden);
  DeviceValues<float> workspace(
      std::max(norm_backward_workspace(n, kHidden), column_sums_workspace(n, kHidden)));
  DropoutSequence dropout(rate);
  measure<T>(
      state, {.bytes = 4.0 * sizeof(T) * n * kHidden},
      [&] {
        embed_norm_backward<T>(batch.rows, kHidden, dy.data(), sum.data(), mean.data(), rstd.data(),
                               norm.gain.data(), dropout.next(), dtype.data(), norm.dgain.data(),
                               norm.dbias.data(), workspace.data(), nullptr);
      },
      [&] { require_results(norm.dgain, "dgain"); });
}

template <class T>
void table_gradient(benchmark::State& state, bool words) {
  const Batch batch = make_batch();
  const std::int64_t n = batch.sequences.tokens;
  const RowSegments segments = make_row_segments(words ? batch.tokens() : batch.places());
  DeviceValues<std::int32_t> order(segments.order), begin(segments.begin), key(segments.key);
  const DeviceSegments there{order.data(), begin.data(), key.data(), key.size()};
  RandomValues<T> d(n * kHidden, 1);
  DeviceValues<float> table((words ? kVocabulary : kMaxPositions) * kHidden);
  measure<T>(
      state, {.bytes = 1.0 * sizeof(T) * n * kHidden + 8.0 * there.count * kHidden},
      [&] { add_to_table<T>(there, kHidden, d.data(), table.data(), nullptr); },
      [&] { require_results(table, "the table"); });
}

template <class T>
void residual_norm_forward(benchmark::State& state, double rate) {
  const Batch batch = make_batch();
  const std::int64_t n = batch.sequences.tokens;
  RandomValues<T> x(n * kHidden, 1), residual(n * kHidden, 2), x_bias(kHidden, 3);
  NormParameters<T> norm;
  DeviceValues<T> y(n * kHidden);
  DeviceValues<float> mean(n), rstd(n);
  DropoutSequence dropout(rate);
  measure<T>(
      state, {.bytes = 4.0 * sizeof(T) * n * kHidden},
      [&] {
        residual_norm<T>(n, kHidden, batch.sequences.global_row, x.data(), x_bias.data(), residual.data(),
                         norm.gain.data(), norm.bias.data(), 1e-12f, dropout.next(), mean.data(), rstd.data(),
                         y.data(), nullptr);
      },
      [&] { require_results(y, "y"); });
}

template <class T>
void residual_norm_gradient(benchmark::State& state, double rate) {
  const Batch batch = make_batch();
  const std::int64_t n = batch.sequences.tokens;
  RandomValues<T> dy(n * kHidden, 1), sum(n * kHidden, 2);
  RandomValues<float> mean(n, 3), rstd(n, 4);
  NormParameters<T> norm;
  DeviceValues<T> dsum(n * kHidden), dx(rate > 0 ? n * kHidden : 1);
  DeviceValues<float> workspace(norm_backward_workspace(n, kHidden));
  DropoutSequence dropout(rate);
  measure<T>(
      state, {.bytes = (rate > 0 ? 4.0 : 3.0) * sizeof(T) * n * kHidden},
      [&] {
        residual_norm_backward<T>(n, kHidden, batch.sequences.global_row, dy.data(), sum.data(), mean.data(),
                                  rstd.data(), norm.gain.data(), dropout.next(), dsum.data(),
                                  rate > 0 ? dx.data() : dsum.data(), norm.dgain.data(), norm.dbias.data(),
                                  workspace.data(), nullptr);
      },
      [&] { require_results(dsum, "dsum"); });
}

// ---- feed-forward, sums, conversions

template <class T>
void gelu_forward(benchmark::State& state) {
  const std::int64_t n = tokens_wanted();
  RandomValues<T> x(n * kInner, 1);
  DeviceValues<T> y(n * kInner);
  // As a layer has it: the product has added the bias, pre is x.
  measure<T>(
      state, {.bytes = 3.0 * sizeof(T) * n * kInner},
      [&] { bias_gelu<T>(n, kInner, x.data(), static_cast<const T*>(nullptr), x.data(), y.data(), nullptr); },
      [&] { require_results(y, "y"); });
}

template <class T>
void gelu_gradient(benchmark::State& state) {
  const std::int64_t n = tokens_wanted() * kInner;
  RandomValues<T> pre(n, 1), d(n, 2);
  measure<T>(
      state, {.bytes = 3.0 * sizeof(T) * n}, [&] { gelu_backward<T>(n, pre.data(), d.data(), nullptr); },
      [&] { require_results(d, "d"); });
}

template <class T>
void sum_columns(benchmark::State& state, std::int64_t columns) {
  const std::int64_t n = tokens_wanted();
  RandomValues<T> x(n * columns, 1);
  DeviceValues<float> sums(columns), workspace(column_sums_workspace(n, columns));
  measure<T>(
      state, {.bytes = 1.0 * sizeof(T) * n * columns},
      [&] { column_sums<T>(n, columns, x.data(), sums.data(), workspace.data(), nullptr); },
      [&] { require_results(sums, "sums"); });
}

void convert_to_bf16(benchmark::State& state) {
  const std::int64_t n = scaled(kParameters);
  RandomValues<float> from(n, 1);
  DeviceValues<bfloat16> to(n);
  measure<float>(
      state, {.bytes = 6.0 * n}, [&] { convert(n, from.data(), to.data(), nullptr); },
      [&] { require_results(to, "to"); });
}

// ---- attention

template <class T>
struct AttentionProblem {
  AttentionProblem(std::int64_t head_size, std::int64_t length, double rate)
      : batch(make_batch(length)), heads(kHidden / head_size), dropout(rate), n(batch.sequences.tokens) {}

  void forward() {
    attention<T>(batch.sequences, kHidden, heads, batch.work, qkv.data(), dropout.next(), logsumexp.data(),
                 out.data(), nullptr);
  }
  void backward() {
    attention_backward<T>(batch.sequences, kHidden, heads, batch.work, qkv.data(), out.data(),
                          logsumexp.data(), dout.data(), dropout.next(), delta.data(), dqkv.data(), nullptr);
  }

  Batch batch;
  std::int64_t heads;
  DropoutSequence dropout;
  std::int64_t n;
  RandomValues<T> qkv{3 * n * kHidden, 1}, dout{n * kHidden, 2};
  DeviceValues<T> out{n * kHidden}, dqkv{3 * n * kHidden};
  DeviceValues<float> logsumexp{n * heads}, delta{n * heads};
};

template <class T>
void attention_forward(benchmark::State& state, std::int64_t head_size, std::int64_t length, double rate) {
  AttentionProblem<T> p(head_size, length, rate);
  const double elements = static_cast<double>(p.n) * kHidden;
  measure<T>(
      state,
      {.bytes = 4 * sizeof(T) * elements + 4.0 * p.n * p.heads, .flops = 4 * p.batch.squares * kHidden},
      [&] { p.forward(); }, [&] { require_results(p.out, "out"); });
}

template <class T>
void attention_gradient(benchmark::State& state, std::int64_t head_size, std::int64_t length, double rate) {
  AttentionProblem<T> p(head_size, length, rate);
  p.forward();
  const double elements = static_cast<double>(p.n) * kHidden;
  // dQ: reads q, k, v, dO, O and the statistics, writes dq and δ; dK, dV: reads q, k, v, dO, both, writes 2.
  measure<T>(
      state,
      {.bytes = 12 * sizeof(T) * elements + 16.0 * p.n * p.heads, .flops = 14 * p.batch.squares * kHidden},
      [&] { p.backward(); }, [&] { require_results(p.dqkv, "dqkv"); });
}

// ---- pooling

template <class T>
void pool_forward(benchmark::State& state) {
  const Batch batch = make_batch();
  const std::int64_t n = batch.sequences.tokens, count = batch.sequences.count;
  RandomValues<T> x(n * kHidden, 1);
  DeviceValues<float> y(count * kHidden);
  measure<T>(
      state, {.bytes = 1.0 * sizeof(T) * n * kHidden + 4.0 * count * kHidden},
      [&] {
        pool<T>(count, batch.sequences.offsets, kHidden, PooledTokens::kMean, x.data(), y.data(), nullptr);
      },
      [&] { require_results(y, "y"); });
}

template <class T>
void pool_gradient(benchmark::State& state) {
  const Batch batch = make_batch();
  const std::int64_t n = batch.sequences.tokens, count = batch.sequences.count;
  RandomValues<float> dy(count * kHidden, 1);
  DeviceValues<T> dx(n * kHidden);
  measure<T>(
      state, {.bytes = 1.0 * sizeof(T) * n * kHidden + 4.0 * count * kHidden},
      [&] {
        pool_backward<T>(count, batch.sequences.offsets, kHidden, PooledTokens::kMean, dy.data(), dx.data(),
                         nullptr);
      },
      [&] { require_results(dx, "dx"); });
}

void normalize(benchmark::State& state, bool backward) {
  const std::int64_t rows = scaled(65536), n = rows * kHidden;
  RandomValues<float> x(n, 1), dy(n, 2);
  DeviceValues<float> norm(rows), y(n), dx(n);
  normalize_rows(rows, kHidden, x.data(), norm.data(), y.data(), nullptr);
  if (backward) {
    measure<float>(
        state, {.bytes = 12.0 * n},
        [&] { normalize_rows_backward(rows, kHidden, dy.data(), y.data(), norm.data(), dx.data(), nullptr); },
        [&] { require_results(dx, "dx"); });
  } else {
    measure<float>(
        state, {.bytes = 8.0 * n},
        [&] { normalize_rows(rows, kHidden, x.data(), norm.data(), y.data(), nullptr); },
        [&] { require_results(y, "y"); });
  }
}

// ---- tiles of scores

struct ScoreProblem {
  ScoreProblem() {
    fill_random(scores, 1, 0.2f);
    check_cuda(
        cudaMemcpy(inverse_temperature.data(), &kInverseTemperature, sizeof(double), cudaMemcpyHostToDevice),
        "cudaMemcpy");
    reset_lines(rows + columns, max.data(), sum.data(), nullptr);
  }

  static constexpr double kInverseTemperature = 20;
  std::int64_t rows = scaled(1024), columns = scaled(8192), n = rows * columns;
  DeviceValues<float> scores{n}, max{rows + columns};
  DeviceValues<double> sum{rows + columns}, inverse_temperature{1};
};

void score_statistics(benchmark::State& state, bool by_row) {
  ScoreProblem p;
  DeviceValues<LinePart> workspace(1 + (by_row ? row_statistics_workspace(p.rows, p.columns)
                                               : column_statistics_workspace(p.rows, p.columns)));
  measure<float>(
      state, {.bytes = 4.0 * p.n},
      [&] {
        const auto add = by_row ? add_row_statistics : add_column_statistics;
        add(p.rows, p.columns, p.scores.data(), p.inverse_temperature.data(), p.max.data(), p.sum.data(),
            workspace.data(), nullptr);
      },
      [] {});
}

template <class T>
void score_gradient(benchmark::State& state, bool symmetric) {
  ScoreProblem p;
  RandomValues<float> shift(p.rows + p.columns, 2, 0.01f), offset(p.rows + p.columns, 3, 0.01f);
  DeviceValues<T> gradient(p.n);
  const SoftmaxLines<float> by_row{shift.data(), offset.data()};
  SoftmaxLines<float> by_column;
  if (symmetric) by_column = {shift.data() + p.rows, offset.data() + p.rows};
  measure<T>(
      state, {.bytes = (4.0 + sizeof(T)) * p.n},
      [&] {
        softmax_gradient<T>(p.rows, p.columns, p.scores.data(), p.inverse_temperature.data(), by_row,
                            by_column, gradient.data(), nullptr);
      },
      [&] { require_results(gradient, "gradient"); });
}

// ---- matrix products of a layer

enum class Pass { kForward, kInputGradient, kParameterGradient };

template <class T>
void linear_layer(benchmark::State& state, Pass pass, std::int64_t in, std::int64_t out) {
  const std::int64_t rows = tokens_wanted();
  RandomValues<T> x(rows * in, 1), w(out * in, 2, 0.02f), bias(out, 3), y(rows * out, 4);
  DeviceValues<float> dw(out * in), dbias(out);
  MatrixProducts products(nullptr);
  const double elements = 1.0 * rows * in + 1.0 * in * out + 1.0 * rows * out;
  // The gradient of the parameters is float and added to.
  const double bytes = pass == Pass::kParameterGradient
                           ? sizeof(T) * (elements - 1.0 * in * out) + 8.0 * in * out
                           : sizeof(T) * elements;
  measure<T>(
      state, {.bytes = bytes, .flops = 2.0 * rows * in * out},
      [&] {
        if (pass == Pass::kForward) {
          products.linear<T>(rows, in, out, x.data(), w.data(), bias.data(), y.data());
        } else if (pass == Pass::kInputGradient) {
          products.linear_backward_input<T>(rows, in, out, y.data(), w.data(), x.data(), false);
        } else {
          products.linear_backward_parameters<T>(rows, in, out, y.data(), x.data(), dw.data(), dbias.data());
        }
      },
      [&] {
        if (pass == Pass::kParameterGradient) {
          require_results(dw, "dw");
        } else {
          require_results(pass == Pass::kForward ? y : x, "the product");
        }
      });
}

// ---- optimiser

void gradient_norm(benchmark::State& state) {
  const std::int64_t n = scaled(kParameters);
  RandomValues<float> x(n, 1);
  DeviceValues<double> result(1), workspace(squared_norm_workspace(n));
  measure<float>(
      state, {.bytes = 4.0 * n}, [&] { squared_norm(n, x.data(), result.data(), workspace.data(), nullptr); },
      [&] { require_results(result, "the norm"); });
}

void optimizer_step(benchmark::State& state, bool copies) {
  const std::int64_t n = scaled(kParameters);
  const DecaySlice whole{0, n, true};
  const std::vector<AdamWTile> tiles = make_adamw_tiles({&whole, 1});
  DeviceValues<AdamWTile> tile(tiles);
  RandomValues<float> gradient(n, 1), parameter(n, 2), m(n, 3);
  DeviceValues<float> v(n);
  DeviceValues<bfloat16> copy(copies ? n : 1);
  const AdamWStep step{.learning_rate = 1e-6, .weight_decay = 0.01, .step = 10};
  measure<float>(
      state, {.bytes = (copies ? 30.0 : 28.0) * n},
      [&] {
        adamw(tile.size(), tile.data(), gradient.data(), step, {}, parameter.data(), m.data(), v.data(),
              copies ? copy.data() : nullptr, nullptr);
      },
      [&] { require_results(v, "v"); });
}

// ---- the list

void add(const std::string& name, const std::function<void(benchmark::State&)>& body) {
  add_benchmark(name, body)->Iterations(is_trial() ? 1 : 10)->Unit(benchmark::kMicrosecond);
}

std::string kernel_of_type(const char* kernel, const char* type) {
  return std::string(kernel) + "/" + type;
}
std::string name_of_dropout(double rate) {
  return rate > 0 ? "/dropout" : "";
}

/// What exists in both types.
template <class T>
void add_elementwise() {
  using State = benchmark::State;
  const auto name = [](const char* kernel) { return kernel_of_type(kernel, kTypeName<T>); };
  for (const double rate : {0.0, 0.1}) {
    const std::string suffix = name_of_dropout(rate);
    add(name("embed") + suffix, [=](State& state) { embed_forward<T>(state, rate); });
    add(name("embed_norm_backward") + suffix, [=](State& state) { embed_backward<T>(state, rate); });
    add(name("residual_norm") + suffix, [=](State& state) { residual_norm_forward<T>(state, rate); });
    add(name("residual_norm_backward") + suffix,
        [=](State& state) { residual_norm_gradient<T>(state, rate); });
  }
  for (const bool words : {true, false}) {
    add(name("add_to_table") + (words ? "/words" : "/positions"),
        [=](State& state) { table_gradient<T>(state, words); });
  }
  add(name("bias_gelu"), gelu_forward<T>);
  add(name("gelu_backward"), gelu_gradient<T>);
  for (const std::int64_t columns : {kHidden, kInner}) {
    add(name("column_sums") + "/" + std::to_string(columns),
        [=](State& state) { sum_columns<T>(state, columns); });
  }
  add(name("pool"), pool_forward<T>);
  add(name("pool_backward"), pool_gradient<T>);
  add(name("softmax_gradient"), [](State& state) { score_gradient<T>(state, false); });
  add(name("softmax_gradient") + "/symmetric", [](State& state) { score_gradient<T>(state, true); });
}

template <class T>
void add_attention(const std::vector<std::int64_t>& head_sizes, const std::vector<std::int64_t>& lengths,
                   const std::vector<double>& rates_of_dropout) {
  for (const std::int64_t head_size : head_sizes) {
    for (const std::int64_t length : lengths) {
      for (const double rate : rates_of_dropout) {
        const std::string suffix = "/head_" + std::to_string(head_size) + "/length_" +
                                   (length > 0 ? std::to_string(length) : "drawn") + name_of_dropout(rate);
        add(kernel_of_type("attention", kTypeName<T>) + suffix,
            [=](benchmark::State& state) { attention_forward<T>(state, head_size, length, rate); });
        add(kernel_of_type("attention_backward", kTypeName<T>) + suffix,
            [=](benchmark::State& state) { attention_gradient<T>(state, head_size, length, rate); });
      }
    }
  }
}

void add_matrix_products() {
  struct Shape {
    const char* name;
    std::int64_t in, out;
  };
  for (const Shape& shape : {Shape{"qkv", kHidden, 3 * kHidden}, Shape{"projection", kHidden, kHidden},
                             Shape{"inner", kHidden, kInner}, Shape{"output", kInner, kHidden}}) {
    for (const auto& [name, pass] :
         {std::pair{"linear", Pass::kForward}, std::pair{"linear_backward_input", Pass::kInputGradient},
          std::pair{"linear_backward_parameters", Pass::kParameterGradient}}) {
      add(kernel_of_type(name, "bf16") + "/" + shape.name, [=, pass = pass](benchmark::State& state) {
        linear_layer<bfloat16>(state, pass, shape.in, shape.out);
      });
    }
  }
}

void add_benchmarks() {
  using State = benchmark::State;
  add_elementwise<bfloat16>();
  add_elementwise<float>();
  add_attention<bfloat16>({32, 64, 128}, {0, 128, 512, 2048}, {0.0, 0.1});
  add_attention<float>({64}, {0, 512}, {0.1});
  add_matrix_products();
  add("normalize_rows", [](State& state) { normalize(state, false); });
  add("normalize_rows_backward", [](State& state) { normalize(state, true); });
  add("row_statistics", [](State& state) { score_statistics(state, true); });
  add("column_statistics", [](State& state) { score_statistics(state, false); });
  add("convert", convert_to_bf16);
  add("squared_norm", gradient_norm);
  add("adamw", [](State& state) { optimizer_step(state, false); });
  add("adamw/bf16_copy", [](State& state) { optimizer_step(state, true); });
}

void prepare() {
  int devices = 0;
  check_cuda(cudaGetDeviceCount(&devices), "cudaGetDeviceCount");
  const DeviceRates& measured = rates();
  benchmark::AddCustomContext("copy_gb_per_second", std::to_string(measured.bytes_per_second / 1e9));
  benchmark::AddCustomContext("bf16_product_tflops", std::to_string(measured.bf16_flops / 1e12));
  benchmark::AddCustomContext("float_product_tflops", std::to_string(measured.float_flops / 1e12));
  add_benchmarks();
}

}  // namespace
}  // namespace toller

int main(int argc, char** argv) {
  return toller::run_benchmarks("bench_cuda_kernels", argc, argv, toller::is_trial(), toller::prepare);
}
