// Time and peak memory of `toller fuse` on checkpoints of 4 GiB whose largest tensor has 1 GiB, made for the
// purpose and removed in the end: 16 GiB of disk. `fuse/tiny` is what the program takes for itself. Memory is
// the largest resident set of a process, as the kernel tells it of the program run.
//
//   FUSION_FOLDER   where the files go (default: the folder for temporary files)
//   FUSION_LAYERS   layers of the model (64; one is 48 MiB, beside the 1 GiB of the embeddings)
#include <benchmark/benchmark.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "error.h"
#include "random.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kPiece = std::int64_t{1} << 20;
constexpr double kMebibyte = 1 << 20;

std::string environment(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}

EncoderConfig encoder_of(std::int32_t vocabulary, std::int32_t hidden, std::int32_t layers) {
  EncoderConfig encoder;
  encoder.vocabulary_size = vocabulary;
  encoder.hidden_size = hidden;
  encoder.layers = layers;
  encoder.heads = hidden / 64;
  encoder.intermediate_size = 4 * hidden;
  return encoder;
}

/// Noise around values that are the same in all models, in memory for a piece.
void write_model(const fs::path& path, const EncoderConfig& encoder, std::uint64_t seed) {
  std::vector<float> noise(kPiece), piece(kPiece);
  for (std::size_t i = 0; i < noise.size(); i += 4) {
    const PhiloxBlock numbers = random_block(seed, RandomStream::kParameterInit, i, 0);
    for (std::size_t j = 0; j < 4; ++j) noise[i + j] = static_cast<float>(uniform_open(numbers[j]) - 0.5);
  }
  CheckpointMeta meta;
  meta.encoder = encoder;
  CheckpointWriter writer(path, meta);
  const ParameterTable table(encoder);
  for (const TensorView& tensor : table.tensors()) {
    const std::int64_t row = tensor.size / tensor.shape.front();
    const std::int64_t step = std::max<std::int64_t>(1, kPiece / row) * row;
    for (std::int64_t first = 0; first < tensor.size; first += step) {
      const std::int64_t size = std::min(step, tensor.size - first);
      const float centre = 1.0F / static_cast<float>(1 + first / step);
      for (std::int64_t i = 0; i < size; ++i) {
        piece[static_cast<std::size_t>(i)] = centre + 0.1F * noise[static_cast<std::size_t>(i)];
      }
      writer.write_rows(tensor, first, std::span<const float>(piece).first(static_cast<std::size_t>(size)));
    }
  }
  writer.commit();
}

/// A base and two checkpoints, on disk while the object lives.
class Models {
 public:
  Models(const std::string& name, const EncoderConfig& encoder)
      : folder_(fs::path(environment("FUSION_FOLDER", fs::temp_directory_path().string())) /
                fmt::format("toller-{}-{}", name, ::getpid())),
        table_(encoder) {
    fs::create_directory(folder_);
    for (std::uint64_t k = 0; k < 3; ++k) write_model(file(k), encoder, k + 1);
  }
  ~Models() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  Models(const Models&) = delete;
  Models& operator=(const Models&) = delete;

  /// 0: the base.
  std::string file(std::uint64_t k) const { return (folder_ / fmt::format("{}.h5", k)).string(); }
  std::string out() const { return (folder_ / "out.h5").string(); }
  double mebibytes() const { return static_cast<double>(table_.size()) * 4 / kMebibyte; }
  double largest_tensor() const {
    std::int64_t largest = 0;
    for (const TensorView& tensor : table_.tensors()) largest = std::max(largest, tensor.size);
    return static_cast<double>(largest) * 4 / kMebibyte;
  }

 private:
  fs::path folder_;
  ParameterTable table_;
};

/// Runs a program; the largest resident set of it and of those it started, in MiB.
double peak_of(std::vector<std::string> words) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    if (std::freopen("/dev/null", "w", stdout) == nullptr) ::_exit(126);
    ::execvp(arguments.front(), arguments.data());
    ::_exit(127);
  }
  int status = 0;
  rusage usage{};
  if (child < 0 || ::wait4(child, &status, 0, &usage) != child || status != 0) {
    fail("{} failed: status {}", fmt::join(words, " "), status);
  }
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

void fuse(benchmark::State& state, const Models& models, const std::string& method, int ranks) {
  const fs::path program = fs::read_symlink("/proc/self/exe").parent_path() / "toller";
  std::vector<std::string> words;
  if (ranks > 1) words = {"mpirun", "-q", "-np", std::to_string(ranks)};
  words.insert(words.end(), {program.string(), "fuse", "--method", method, "--out", models.out()});
  if (method != "soup" && method != "slerp") words.insert(words.end(), {"--base", models.file(0)});
  words.insert(words.end(), {models.file(1), models.file(2)});
  for (auto _ : state) state.counters["peak_MiB"] = peak_of(words);
  state.counters["model_MiB"] = models.mebibytes();
  state.counters["largest_tensor_MiB"] = models.largest_tensor();
}

void add(const std::string& name, const Models& models, const std::string& method, int ranks) {
  benchmark::RegisterBenchmark(
      name.c_str(), [&models, method, ranks](benchmark::State& state) { fuse(state, models, method, ranks); })
      ->Iterations(1)
      ->Unit(benchmark::kSecond)
      ->UseRealTime();
}

int run(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const Models tiny("tiny", encoder_of(1000, 64, 1));
  const Models large("large", encoder_of(1 << 18, 1024, std::stoi(environment("FUSION_LAYERS", "64"))));
  for (const int ranks : {1, 2}) {
    for (const char* method : {"soup", "delta-guided", "task-arithmetic", "ties", "dare", "slerp"}) {
      if (ranks == 1 || method == std::string("soup")) {
        add(fmt::format("fuse/tiny/{}/{}_ranks", method, ranks), tiny, method, ranks);
      }
      add(fmt::format("fuse/large/{}/{}_ranks", method, ranks), large, method, ranks);
    }
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace
}  // namespace toller

int main(int argc, char** argv) {
  try {
    return toller::run(argc, argv);
  } catch (const std::exception& problem) {
    fmt::print(stderr, "bench_fusion: {}\n", problem.what());
    return 1;
  }
}
