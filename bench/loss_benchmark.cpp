// Losses over a global batch alone, on the CPU in float: B queries, one document each, random unit vectors of
// 256 numbers. `mw` by way of its grid, pair by pair (`exact`, written out: time in B³), per query, and
// `infonce` beside them; `wasserstein` (time in B³); `alignment_uniformity`; the similarity losses of the B
// pairs. scores_per_second counts B² scores.
//
// What a loss costs beside its matrix products is what is left of it at few dimensions: LOSS_DIMENSION=8.
// Before the grid form is timed, it is compared with the exact form on a smaller batch.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/host_tensor_communicator.h"
#include "loss/loss.h"

namespace toller {
namespace {

constexpr double kTemperature = 0.05;

std::int64_t dimension() {
  const char* given = std::getenv("LOSS_DIMENSION");
  return given != nullptr ? std::atoll(given) : 256;
}

std::vector<float> unit_vectors(std::int64_t n, std::int64_t d, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<std::size_t>(n * d));
  for (std::int64_t i = 0; i < n; ++i) {
    float* row = x.data() + i * d;
    double squares = 0;
    for (std::int64_t j = 0; j < d; ++j) {
      row[j] = normal(generator);
      squares += double{row[j]} * row[j];
    }
    for (std::int64_t j = 0; j < d; ++j) row[j] /= static_cast<float>(std::sqrt(squares));
  }
  return x;
}

/// A batch and room for its loss.
class Batch {
 public:
  explicit Batch(std::int64_t queries)
      : queries_(queries),
        query_(unit_vectors(queries, dimension(), 1)),
        document_(unit_vectors(queries, dimension(), 2)),
        offsets_(static_cast<std::size_t>(queries + 1)),
        none_(offsets_.size(), 0),
        positive_(static_cast<std::size_t>(queries)),
        grade_(static_cast<std::size_t>(queries), 1),
        gold_(static_cast<std::size_t>(queries)),
        dquery_(query_.size()),
        ddocument_(document_.size()) {
    std::iota(offsets_.begin(), offsets_.end(), 0);
    std::iota(positive_.begin(), positive_.end(), 0);
    std::mt19937 generator(3);
    for (float& gold : gold_) gold = static_cast<float>(generator() % 26) / 5;
  }

  double run(Loss<float>& loss) {
    loss.compute({queries_,
                  queries_,
                  queries_,
                  dimension(),
                  query_.data(),
                  document_.data(),
                  offsets_,
                  positive_,
                  none_,
                  {},
                  offsets_,
                  grade_,
                  gold_,
                  0,
                  0,
                  {&queries_, 1}},
                 &log_temperature_, tensors_, {dquery_.data(), ddocument_.data(), &slope_, &value_});
    return value_;
  }
  double gradient_of_first_query() const { return dquery_[0]; }

 private:
  std::int64_t queries_;
  std::vector<float> query_, document_;
  std::vector<std::int64_t> offsets_, none_;
  std::vector<std::int32_t> positive_;
  std::vector<std::int32_t> grade_;
  std::vector<float> gold_;  ///< 0 to 5 in steps of a fifth
  std::vector<float> dquery_, ddocument_;
  SelfCommunicator communicator_;
  HostTensorCommunicator tensors_{communicator_};
  float log_temperature_ = static_cast<float>(std::log(kTemperature));
  double slope_ = 0, value_ = 0;
};

struct Device {
  std::unique_ptr<Ops<float>> ops = make_cpu_ops<float>();
  std::unique_ptr<ScoreOps<float>> score_ops = make_cpu_score_ops<float>();
};

void require_close(double expected, double found, const char* what) {
  if (std::abs(expected - found) <= 1e-4 * std::abs(expected)) return;
  std::fprintf(stderr, "%s: expected %g, found %g\n", what, expected, found);
  std::abort();
}

void check_grid() {
  Device device;
  Batch batch(512);
  const double exact = batch.run(*make_mw<float>(*device.ops, *device.score_ops, {.exact = true}));
  const double gradient = batch.gradient_of_first_query();
  require_close(exact, batch.run(*make_mw<float>(*device.ops, *device.score_ops, {})),
                "value of the grid form");
  require_close(gradient, batch.gradient_of_first_query(), "gradient of the grid form");
}

/// A figure in KiB of this process, as the system counts it: VmRSS, or VmHWM, the most there was.
double process_memory(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + ":")) return std::atof(line.c_str() + name.size() + 1);
  }
  return NAN;
}

/// Runs the loss once and returns by how many bytes the process's memory grew meanwhile at most.
double peak_growth(Batch& batch, Loss<float>& loss) {
  malloc_trim(0);  // what earlier losses have freed would serve this one unseen
  std::ofstream("/proc/self/clear_refs") << "5";  // VmHWM begins anew
  const double before = process_memory("VmRSS");
  benchmark::DoNotOptimize(batch.run(loss));
  return 1024 * (process_memory("VmHWM") - before);
}

void measure(benchmark::State& state, Loss<float>& loss) {
  const std::int64_t queries = state.range(0);
  Batch batch(queries);
  // In the first run, which is not timed: later ones find the memory there.
  state.counters["peak_growth_bytes"] = peak_growth(batch, loss);
  for (auto _ : state) benchmark::DoNotOptimize(batch.run(loss));
  state.counters["scores_per_second"] =
      benchmark::Counter(static_cast<double>(queries) * static_cast<double>(queries),
                         benchmark::Counter::kIsIterationInvariantRate);
}

void mw(benchmark::State& state, MwOptions options) {
  if (!options.exact && !options.per_query) {
    check_grid();
    options.grid_points = mw_grid_points(kTemperature);
  }
  Device device;
  measure(state, *make_mw<float>(*device.ops, *device.score_ops, options));
}

void infonce(benchmark::State& state) {
  Device device;
  measure(state, *make_infonce<float>(*device.ops, *device.score_ops, {}));
}

void wasserstein(benchmark::State& state) {
  Device device;
  measure(state, *make_wasserstein<float>(*device.ops, *device.score_ops, {}));
}

void alignment_uniformity(benchmark::State& state) {
  Device device;
  measure(state, *make_alignment_uniformity<float>(*device.ops, *device.score_ops, {}));
}

void similarity(benchmark::State& state, SimilarityKind kind) {
  Device device;
  measure(state, *make_similarity_loss<float>(*device.ops, *device.score_ops, {.kind = kind}));
}

BENCHMARK(wasserstein)->Arg(256)->Arg(1024)->Arg(2048)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(infonce)->Arg(1024)->Arg(4096)->Arg(32768)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(mw, grid, MwOptions{})
    ->Arg(1024)
    ->Arg(4096)
    ->Arg(32768)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(mw, per_query, MwOptions{.per_query = true})
    ->Arg(1024)
    ->Arg(4096)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(mw, exact, MwOptions{.exact = true})
    ->Arg(1024)
    ->Arg(4096)
    ->Iterations(1)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
void with_sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->Arg(1024)->Arg(4096)->Arg(32768)->UseRealTime()->Unit(benchmark::kMillisecond);
}
BENCHMARK(alignment_uniformity)->Apply(with_sizes);
BENCHMARK_CAPTURE(similarity, pearson, SimilarityKind::kPearson)->Apply(with_sizes);
BENCHMARK_CAPTURE(similarity, rank_kl, SimilarityKind::kRankKl)->Apply(with_sizes);
BENCHMARK_CAPTURE(similarity, pro, SimilarityKind::kPro)->Apply(with_sizes);
BENCHMARK_CAPTURE(similarity, cosent, SimilarityKind::kCosent)->Apply(with_sizes);

}  // namespace
}  // namespace toller

BENCHMARK_MAIN();
