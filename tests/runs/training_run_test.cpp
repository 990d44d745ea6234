// Runs as users start them: ranks agree, a repeated run is the same bit by bit, and a run that was killed or
// told to stop goes on as if nothing had happened.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "checkpoint/checkpoint.h"
#include "cli/scratch_folder.h"

namespace toller {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

constexpr int kQueries = 130;  // with a batch of 64: 64, 64 and 2, too few for four ranks
constexpr const char* kModel =
    "--data store.h5 --layers 2 --hidden-size 48 --heads 4 --intermediate-size 96 --log-every 1 ";

/// Documents of random words; a query shares words with its two relevant documents; every fourth judgement is
/// negative.
void write_collection(const ScratchFolder& folder) {
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
    return run(fmt::format("mpirun -np {} toller train {} --out {} {}", ranks, kModel, out, options));
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
};

double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
    norm += std::pow(static_cast<double>(a[i]), 2);
  }
  return std::sqrt(difference / norm);
}

TEST_F(TrainingRun, RanksAgree) {
  for (const std::string options : {"--learn-temperature", "--symmetric --positives 2 --hard-negatives 1"}) {
    const std::string all = "--global-batch 64 --steps 5 --seed 3 --dropout 0.1 " + options;
    train(1, "np1", all);
    const Model one = model("np1/last");
    const std::vector<double> one_losses = losses("np1");
    ASSERT_EQ(one_losses.size(), 5u);
    for (int ranks : {2, 3, 4}) {
      const std::string out = fmt::format("np{}", ranks);
      train(ranks, out, all);
      const std::vector<double> many_losses = losses(out);
      ASSERT_EQ(many_losses.size(), 5u);
      for (int i = 0; i < 5; ++i) EXPECT_NEAR(many_losses[i], one_losses[i], 1e-5 * one_losses[i]) << ranks;
      EXPECT_LT(relative_difference(one.parameters, model(out + "/last").parameters), 1e-5)
          << ranks << " ranks";
    }
  }
}

TEST_F(TrainingRun, ARepeatedRunIsTheSameBitByBit) {
  for (int ranks : {1, 3}) {
    train(ranks, "first", "--global-batch 64 --steps 6");
    train(ranks, "second", "--global-batch 64 --steps 6");
    expect_same_bits(model("first/last"), model("second/last"));
    EXPECT_EQ(losses("first"), losses("second"));
  }
}

TEST_F(TrainingRun, MicroBatchesAndAccumulationWork) {
  train(2, "whole", "--global-batch 64 --steps 4");
  train(2, "chunked", "--global-batch 64 --steps 4 --micro-batch 5");
  EXPECT_LT(relative_difference(model("whole/last").parameters, model("chunked/last").parameters), 1e-5);
  train(2, "accumulated", "--global-batch 32 --steps 4 --accumulate 2");
  const auto config = nlohmann::json::parse(std::ifstream(folder_->path() / "accumulated" / "config.json"));
  EXPECT_EQ(config["accumulate"], 2);
  EXPECT_GT(relative_difference(model("whole/last").parameters, model("accumulated/last").parameters), 1e-4)
      << "other negatives, another gradient";
}

TEST_F(TrainingRun, TheLossFalls) {
  train(2, "long", "--global-batch 64 --epochs 20 --lr 3e-3");
  const std::vector<double> values = losses("long");
  EXPECT_LT(values.back(), 0.5 * values.front());
}

TEST_F(TrainingRun, KilledAndResumedIsTheUndisturbedRun) {
  const std::string options = "--global-batch 64 --steps 120 --checkpoint-every 10 --keep 2";
  train(2, "undisturbed", options);
  const Model expected = model("undisturbed/last");
  std::mt19937 generator(std::random_device{}());
  for (int trial = 0; trial < 2; ++trial) {
    fs::remove_all(folder_->path() / "killed");
    std::thread killer([&] {
      const int step = 10 * (1 + static_cast<int>(generator() % 6));
      wait_for(folder_->path() / "killed" / fmt::format("step-{:08}.h5", step));
      std::this_thread::sleep_for(std::chrono::milliseconds(generator() % 40));
      run_command("pkill -9 -f 'toller train .*--out killed'", folder_->path(), seconds(10));
    });
    const CommandResult result =
        run_command(fmt::format("mpirun -np 2 toller train {} --out killed {}", kModel, options),
                    folder_->path(), seconds(60));
    killer.join();
    EXPECT_NE(result.status, 0) << "the run was killed";
    run("mpirun -np 2 toller train --resume killed");
    expect_same_bits(model("killed/last"), expected);
    EXPECT_EQ(losses("killed"), losses("undisturbed"));
  }
}

TEST_F(TrainingRun, ADamagedNewestCheckpointIsPassedOver) {
  train(1, "damaged", "--global-batch 64 --steps 20 --checkpoint-every 10");
  const Model expected = model("damaged/last");
  fs::resize_file(folder_->path() / "damaged" / "step-00000020.h5", 20000);
  const std::string output = run("toller train --resume damaged");
  EXPECT_NE(output.find("step-00000020.h5"), std::string::npos) << output;
  expect_same_bits(model("damaged/last"), expected);
}

TEST_F(TrainingRun, ASignalSavesAndEndsInOrder) {
  for (const char* signal : {"TERM", "USR1"}) {
    fs::remove_all(folder_->path() / "stopped");
    std::thread sender([&] {
      wait_for(folder_->path() / "stopped" / "step-00000010.h5");
      // To one rank alone: all agree to stop after the same step.
      run_command(fmt::format("pkill -{} -o -f '^toller train .*--out stopped'", signal), folder_->path(),
                  seconds(10));
    });
    const CommandResult result =
        run_command(fmt::format("mpirun -np 2 toller train {} --out stopped --global-batch 64 --steps 100000 "
                                "--checkpoint-every 10",
                                kModel),
                    folder_->path(), seconds(60));
    sender.join();
    EXPECT_EQ(result.status, 0) << result.output;
    EXPECT_NE(result.output.find("stopped by a signal after step"), std::string::npos) << result.output;
    const std::int64_t step = model("stopped/last").step;
    EXPECT_GE(step, 10);
    run(fmt::format("mpirun -np 2 toller train --resume stopped --steps {}", step + 3));
    EXPECT_EQ(model("stopped/last").step, step + 3);
  }
}

TEST_F(TrainingRun, DoublePrecisionAndInitialisationFromACheckpoint) {
  train(2, "double", "--global-batch 64 --steps 3 --precision double --pooling cls");
  fs::remove_all(folder_->path() / "further");
  run("toller train --data store.h5 --out further --global-batch 64 --steps 3 --init double");
  const CheckpointReader further(folder_->path() / "further" / "step-00000000.h5");
  const CheckpointReader start(folder_->path() / "double" / "last");
  EXPECT_EQ(further.meta().encoder.pooling, Pooling::kCls);
  std::vector<float> a(static_cast<std::size_t>(start.table().size())), b(a);
  start.read_parameters(std::span<float>(a));
  further.read_parameters(std::span<float>(b));
  a.back() = b.back();  // the temperature starts anew
  EXPECT_EQ(a, b);
}

TEST_F(TrainingRun, AFusionOfACheckpointWithItselfIsThatCheckpoint) {
  train(1, "fusable", "--global-batch 64 --steps 4");
  const auto original = model("fusable/last").parameters;
  for (const char* method : {"--base fusable/step-00000000.h5 --granularity element",
                             "--base fusable/step-00000000.h5 --granularity layer", "--method soup"}) {
    run(fmt::format("toller fuse {} --out fused.h5 fusable fusable", method));
    const CheckpointReader fused(folder_->path() / "fused.h5");
    std::vector<float> parameters(original.size());
    fused.read_parameters(std::span<float>(parameters));
    EXPECT_TRUE(parameters == original) << method;
  }
}

}  // namespace
}  // namespace toller
