// What the tests of whole runs share: a small collection in a folder, and runs of the built program in it.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <thread>

#include "checkpoint/checkpoint.h"
#include "cli/scratch_folder.h"

namespace toller {

namespace fs = std::filesystem;
using std::chrono::seconds;

constexpr int kQueries = 130;  // with a batch of 64: 64, 64 and 2, too few for four ranks

/// Documents of random words; a query shares words with its two relevant documents; every fourth judgement is
/// negative.
inline void write_collection(const ScratchFolder& folder) {
  std::mt19937 generator(4);
  const auto below = [&](int n) { return std::uniform_int_distribution<int>(0, n - 1)(generator); };
  const auto word = [](int number) {
    return "w" + std::string(1, 'a' + number % 26) + std::string(1, 'a' + number / 26);
  };
  std::ostringstream corpus, queries, train;
  train << "query-id\tcorpus-id\tscore\n";
  for (int q = 0; q < kQueries; ++q) {
    std::string query, first, second;
    for (int i = 0, n = 1 + below(12); i < n; ++i) query += word(below(300)) + " ";
    for (int i = 0, n = below(40); i < n; ++i) first += word(below(300)) + " ";
    for (int i = 0, n = below(9); i < n; ++i) second += word(below(300)) + " ";
    queries << nlohmann::json{{"_id", "q" + std::to_string(q)}, {"text", query}}.dump() << '\n';
    corpus << nlohmann::json{{"_id", "a" + std::to_string(q)}, {"text", query + first}}.dump() << '\n';
    corpus << nlohmann::json{{"_id", "b" + std::to_string(q)}, {"text", second + query}}.dump() << '\n';
    train << "q" << q << "\ta" << q << "\t2\nq" << q << "\tb" << q << "\t1\n";
    train << "q" << q << "\ta" << (q + 1) % kQueries << "\t0\n";
  }
  fs::create_directories(folder.path() / "collection" / "qrels");
  folder.write("collection/corpus.jsonl", corpus.str());
  folder.write("collection/queries.jsonl", queries.str());
  folder.write("collection/qrels/train.tsv", train.str());
}

struct Model {
  std::vector<float> parameters, m, v;
  std::int64_t step = 0;
};

class TrainingRun : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<ScratchFolder>();
    write_collection(*folder_);
    run("toller prepare --collection collection --train-tokenizer 200 --out store.h5");
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::string run(const std::string& command) {
    const CommandResult result = run_command(command, folder_->path(), seconds(120));
    EXPECT_EQ(result.status, 0) << command << "\n" << result.output;
    return result.output;
  }

  static std::string train(int ranks, const std::string& out, const std::string& options) {
    fs::remove_all(folder_->path() / out);
    return run(fmt::format("mpirun -np {} {} train --data store.h5 --log-every 1 {} --out {} {}", ranks,
                           program_, model_options_, out, options));
  }

  static Model model(const std::string& path) {
    const CheckpointReader reader(folder_->path() / path);
    Model model;
    model.step = reader.meta().step;
    for (auto* values : {&model.parameters, &model.m, &model.v}) {
      values->resize(static_cast<std::size_t>(reader.table().size()));
    }
    reader.read_parameters(std::span<float>(model.parameters));
    reader.read_moments(std::span<float>(model.m), std::span<float>(model.v));
    return model;
  }

  static std::vector<float> parameters(const std::string& path) {
    const CheckpointReader reader(folder_->path() / path);
    std::vector<float> values(static_cast<std::size_t>(reader.table().size()));
    reader.read_parameters(std::span(values));
    return values;
  }

  static std::string bytes(const std::string& path) {
    std::ifstream file(folder_->path() / path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  /// A model whose step is not finite: that of checkpoint `from`, with a huge gain.
  static void write_overflowing_model(const std::string& from, const std::string& to) {
    const CheckpointReader reader(folder_->path() / from);
    std::vector<float> values = parameters(from);
    const TensorView& gain = reader.table().at("encoder.layer.0.output.LayerNorm.weight");
    std::fill_n(values.begin() + gain.offset, gain.size, 1e38f);
    write_checkpoint<float>(folder_->path() / to, reader.meta(), reader.table(), values, {}, {});
  }

  static std::vector<double> losses(const std::string& out) {
    std::vector<double> values;
    std::ifstream in(folder_->path() / out / "metrics.jsonl");
    for (std::string line; std::getline(in, line);) values.push_back(nlohmann::json::parse(line)["loss"]);
    return values;
  }

  static void wait_for(const fs::path& file) {
    for (int i = 0; i < 6000 && !fs::exists(file); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ASSERT_TRUE(fs::exists(file)) << file;
  }

  static void expect_same_bits(const Model& a, const Model& b) {
    EXPECT_EQ(a.step, b.step);
    EXPECT_TRUE(a.parameters == b.parameters);
    EXPECT_TRUE(a.m == b.m);
    EXPECT_TRUE(a.v == b.v);
  }

  static inline std::unique_ptr<ScratchFolder> folder_;
  static inline std::string program_ = "toller";
  static inline std::string model_options_ = "--layers 2 --hidden-size 48 --heads 4 --intermediate-size 96";
};

inline double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
    norm += std::pow(static_cast<double>(a[i]), 2);
  }
  return std::sqrt(difference / norm);
}

}  // namespace toller
