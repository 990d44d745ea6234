// Gradients that are not finite: the step changes nothing, is counted over a resumption too, and too many in
// a row end the run with a message that names step, tensor and checkpoint.
#include <limits>

#include "comm/watched_communicator.h"
#include "device/no_gpus.h"
#include "error.h"
#include "runs/training_run.h"
#include "train/trainer.h"

namespace toller {
namespace {

/// One rank whose sums of gradients hold a NaN in some steps of the process.
class FaultySums final : public WatchedCommunicator {
 public:
  explicit FaultySums(std::vector<int> steps)
      : WatchedCommunicator(self_, seconds(600), [](const std::string&) {}), steps_(std::move(steps)) {}

  using WatchedCommunicator::all_reduce_sum;
  void all_reduce_sum(std::span<float> data) override {
    constexpr std::size_t kGradient = 20'000;  // nothing else that is summed is so long
    if (data.size() < kGradient) return;
    if (std::ranges::count(steps_, ++step_) > 0) data[5] = std::numeric_limits<float>::quiet_NaN();
  }

 private:
  SelfCommunicator self_;
  std::vector<int> steps_;
  int step_ = 0;
};

class NotFinite : public TrainingRun {
 protected:
  static TrainingOptions options(const std::string& out, std::int64_t steps) {
    TrainingOptions options;
    options.data = {folder_->path() / "store.h5"};
    options.out = folder_->path() / out;
    options.machine.device = "cpu";
    options.layers = options.heads = 2;
    options.hidden_size = 32;
    options.intermediate_size = 64;
    options.steps = steps;
    options.schedule = "constant";
    options.checkpoint_every = options.log_every = 1;
    options.keep = 0;
    options.max_skipped_steps = 2;
    return options;
  }

  static void train_with_faults(const TrainingOptions& options, std::vector<int> steps) {
    fs::remove_all(options.out);
    NoGpus gpus;
    FaultySums communicator(std::move(steps));
    toller::train(options, gpus, communicator);
  }

  static void resume_with_faults(const TrainingOptions& options, std::vector<int> steps) {
    NoGpus gpus;
    FaultySums communicator(std::move(steps));
    const CheckpointReader checkpoint(resolve_checkpoint(options.out));
    resume_training(options, checkpoint, gpus, communicator);
  }

  static std::string error_of(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(NotFinite, AStepChangesNothingAndTheRunGoesOn) {
  train_with_faults(options("clean", 4), {});
  train_with_faults(options("faulty", 4), {3});
  for (const int step : {1, 2}) {
    const std::string file = fmt::format("/step-{:08}.h5", step);
    expect_same_bits(model("faulty" + file), model("clean" + file));
  }
  Model before = model("faulty/step-00000002.h5");
  before.step = 3;
  expect_same_bits(model("faulty/step-00000003.h5"), before);
  EXPECT_FALSE(model("faulty/last").parameters == before.parameters);
  std::vector<nlohmann::json> lines;
  std::ifstream in(folder_->path() / "faulty" / "metrics.jsonl");
  for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_FALSE(lines[1].contains("skipped_steps"));
  EXPECT_TRUE(lines[2]["loss"].is_null());
  EXPECT_TRUE(lines[2]["gradient_norm"].is_null());
  EXPECT_EQ(lines[3]["skipped_steps"], 1);
  EXPECT_TRUE(lines[3]["loss"].is_number());
  std::ifstream log_file(folder_->path() / "faulty" / "train.log");
  const std::string log{std::istreambuf_iterator<char>(log_file), {}};
  EXPECT_NE(log.find("step 3: the loss is"), std::string::npos) << log;
  EXPECT_NE(log.find("(in embeddings.word_embeddings.weight): skipped, 1 in a row, 1 in all"),
            std::string::npos)
      << log;
}

TEST_F(NotFinite, TooManyInARowEndTheRunEvenOverAResumption) {
  train_with_faults(options("apart", 8), {1, 2, 4, 5, 7, 8});
  train_with_faults(options("resumed", 4), {1, 3, 4});
  EXPECT_EQ(CheckpointReader(folder_->path() / "resumed/last").meta().state["skipped_in_a_row"], 2);
  resume_with_faults(options("resumed", 6), {2});
  EXPECT_EQ(CheckpointReader(folder_->path() / "resumed/last").meta().state["skipped_steps"], 4);
  resume_with_faults(options("resumed", 7), {1});
  const std::string error = error_of([] { resume_with_faults(options("resumed", 9), {1}); });
  for (const char* part : {"step 8: ", "embeddings.word_embeddings.weight", "3 in a row",
                           "--max-skipped-steps is 2", "step-00000007.h5"}) {
    EXPECT_NE(error.find(part), std::string::npos) << part << " in: " << error;
  }
}

TEST_F(NotFinite, AModelThatOverflowsEndsTheRunOnAllRanks) {
  train(1, "start", "--global-batch 64 --steps 1");
  write_overflowing_model("start/last", "huge.h5");
  for (const int most : {0, 3}) {
    const std::string out = fmt::format("overflows{}", most);
    const CommandResult result = run_command(
        fmt::format(
            "mpirun -np 2 toller train --data store.h5 --out {} --global-batch 64 --steps 9 --init huge.h5 "
            "--max-skipped-steps {}",
            out, most),
        folder_->path(), seconds(60));
    EXPECT_EQ(result.status, 1) << result.output;
    for (const std::string& part :
         {fmt::format("step {}: ", most + 1), std::string("the gradient is not finite (in "),
          fmt::format("{}/step-00000000.h5", out)}) {
      EXPECT_NE(result.output.find(part), std::string::npos) << part << " in: " << result.output;
    }
  }
}

}  // namespace
}  // namespace toller
