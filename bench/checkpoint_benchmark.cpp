// Checkpoints of a `base` model with its moments (CHECKPOINT_PRESET: another preset), in float, by as many
// ranks as mpirun starts, into the folder CHECKPOINT_FOLDER (the current one when unset): from the call that
// lays the files out until they are on disk under their names. Per-second figures are those of rank 0.
//
//   main_seconds   of that, on the main thread: laying out and committing; the rest is for another thread
//   one/1          reads back what was written, as well
//
// record_checkpoint.sh runs it in turns with `dd`.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint_output.h"
#include "comm/mpi_session.h"
#include "model/parameter_shards.h"
#include "seconds_since.h"

namespace toller {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// Of main(), for the benchmarks.
Communicator* ranks = nullptr;

std::string setting(const char* name, const char* otherwise) {
  const char* given = std::getenv(name);
  return given != nullptr ? given : otherwise;
}

/// Values that no file system can make smaller.
std::vector<float> random_values(std::int64_t count, std::uint64_t seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  std::uint64_t state = seed;
  for (float& value : values) {
    state = state * 6364136223846793005 + 1442695040888963407;
    value = static_cast<float>(static_cast<std::int64_t>(state) >> 20);
  }
  return values;
}

EncoderConfig encoder() {
  EncoderConfig config = preset_config(setting("CHECKPOINT_PRESET", "base"));
  config.vocabulary_size = 30522;
  return config;
}

void checkpoint(benchmark::State& state, CheckpointLayout layout) {
  CheckpointMeta meta;
  meta.encoder = encoder();
  const ParameterTable table(meta.encoder);
  const ParameterShards shards(table, {0, table.size()}, ranks->size());
  const std::int64_t mine = shards.elements(ranks->rank());
  const auto seed = static_cast<std::uint64_t>(3 * ranks->rank() + 1);
  const CheckpointShare<float> share = {random_values(mine, seed), random_values(mine, seed + 1),
                                        random_values(mine, seed + 2)};
  const fs::path folder = setting("CHECKPOINT_FOLDER", ".");
  double main_seconds = 0;
  for (auto _ : state) {
    ranks->barrier();
    const auto start = Clock::now();
    CheckpointOutput<float> output(folder / "bench-checkpoint.h5", meta, table, shards, layout, *ranks);
    main_seconds += seconds_since(start);
    output.write(share);
    if (state.range(0) != 0) output.verify();
    ranks->barrier();
    const auto written = Clock::now();
    output.commit();
    main_seconds += seconds_since(written);
    ranks->barrier();
    state.SetIterationTime(seconds_since(start));
  }
  fs::remove(folder / "bench-checkpoint.h5");
  fs::remove(checkpoint_part_path(folder / "bench-checkpoint.h5", ranks->rank(), ranks->size()));
  state.SetBytesProcessed(state.iterations() * 3 * table.size() * static_cast<std::int64_t>(sizeof(float)));
  state.counters["main_seconds"] = benchmark::Counter(main_seconds, benchmark::Counter::kAvgIterations);
  state.counters["ranks"] = ranks->size();
}

/// Ranks must do the same, so that they cannot choose the number of rounds.
void with_verification(benchmark::internal::Benchmark* benchmark) {
  benchmark->Arg(0)->Arg(1)->Iterations(1)->UseManualTime()->Unit(benchmark::kMillisecond);
}
BENCHMARK_CAPTURE(checkpoint, one, CheckpointLayout::kOneFile)->Apply(with_verification);
BENCHMARK_CAPTURE(checkpoint, per_rank, CheckpointLayout::kFilePerRank)->Apply(with_verification);

/// Of ranks that do not speak.
class Silence final : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>&) override {}
};

int run_all(int argc, char** argv) {
  MpiSession session(argc, argv);
  ranks = &session.communicator();
  const bool speaks = ranks->rank() == 0;
  std::vector<char*> words;
  for (char* word : std::vector<char*>(argv, argv + argc)) {
    if (speaks || !std::string_view(word).starts_with("--benchmark_out")) words.push_back(word);
  }
  int count = static_cast<int>(words.size());
  words.push_back(nullptr);
  benchmark::Initialize(&count, words.data());
  if (benchmark::ReportUnrecognizedArguments(count, words.data())) return 2;
  try {
    Silence silence;
    speaks ? benchmark::RunSpecifiedBenchmarks() : benchmark::RunSpecifiedBenchmarks(&silence);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "bench_checkpoint: %s\n", problem.what());
    session.abort(1);
    return 1;
  }
  benchmark::Shutdown();
  return 0;
}

}  // namespace
}  // namespace toller

int main(int argc, char** argv) {
  return toller::run_all(argc, argv);
}
