// Runs whose ranks are killed, stopped or told to end at random moments: each ends by itself and soon, leaves
// nothing but valid checkpoints, and goes on to the very bits of a run that nothing happened to.
#include <glob.h>

#include <functional>

#include "checkpoint/run_checkpoints.h"
#include "runs/rank_processes.h"
#include "runs/training_run.h"

namespace toller {
namespace {

constexpr int kRanks = 2, kSteps = 120, kEvery = 10;
constexpr double kTimeOut = 2;  // seconds

int trials() {
  const char* text = std::getenv("FAULT_TRIALS");
  return text != nullptr ? std::atoi(text) : 2;
}

struct Fault {
  const char* name;
  bool ends_well;  ///< with status 0 and a checkpoint
  /// Does it to a rank of the run in folder / out.
  std::function<void(const fs::path& folder, const std::string& out, int rank)> strike;
  const char* options = "";  ///< of the run
};

void pause_for(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

void kill_in_step(const fs::path& folder, const std::string& out, int rank) {
  signal_rank(folder, out, rank, SIGKILL);
}

/// The other rank is stopped first, so that this one is waiting for it when it dies.
void kill_in_collective(const fs::path& folder, const std::string& out, int rank) {
  signal_rank(folder, out, 1 - rank, SIGSTOP);
  pause_for(200);
  signal_rank(folder, out, rank, SIGKILL);
}

/// As soon as a file that is being written is seen.
void kill_in_checkpoint(const fs::path& folder, const std::string& out, int rank) {
  const auto writer = rank_processes(folder, out)[rank];
  if (writer == 0) return;
  const std::string pattern = folder / out / ".step-*.tmp-*";
  for (int look = 0; look < 2'000'000 && kill(writer, 0) == 0; ++look) {
    glob_t files{};
    const bool found = glob(pattern.c_str(), GLOB_NOSORT, nullptr, &files) == 0;
    globfree(&files);
    if (!found) continue;
    kill(writer, SIGKILL);
    return;
  }
}

void stop(const fs::path& folder, const std::string& out, int rank) {
  signal_rank(folder, out, rank, SIGSTOP);
}

void tell_to_end(const fs::path& folder, const std::string& out, int rank) {
  signal_rank(folder, out, rank, rank == 0 ? SIGTERM : SIGUSR1);
}

class DisturbedRun : public TrainingRun, public testing::WithParamInterface<Fault> {
 protected:
  static void SetUpTestSuite() {
    TrainingRun::SetUpTestSuite();
    train(kRanks, "undisturbed", options());
    expected_ = model("undisturbed/last");
  }
  static std::string options() {
    return fmt::format("--global-batch 64 --steps {} --checkpoint-every {} --keep 2 --timeout {}", kSteps,
                       kEvery, kTimeOut);
  }

  /// A run that the fault strikes `delay` after it has reached `step`.
  static CommandResult disturb(int step, int rank, int delay) {
    fs::remove_all(folder_->path() / "run");
    std::thread striker([&] {
      const fs::path reached = folder_->path() / "run" / fmt::format("step-{:08}.h5", step);
      wait_for(reached);
      pause_for(delay);
      GetParam().strike(folder_->path(), "run", rank);
    });
    const CommandResult result =
        run_command(fmt::format("mpirun -np {} toller train --data store.h5 --log-every 1 {} --out run {} {}",
                                kRanks, model_options_, options(), GetParam().options),
                    folder_->path(), seconds(60));
    striker.join();
    return result;
  }

  static inline Model expected_;
};

TEST_P(DisturbedRun, EndsSoonAndGoesOnToTheSameBits) {
  const unsigned seed = std::random_device{}();
  std::mt19937 generator(seed);
  const auto below = [&](unsigned n) { return static_cast<int>(generator() % n); };
  for (int trial = 0; trial < trials(); ++trial) {
    const int step = kEvery * (1 + below(7)), rank = below(kRanks), delay = below(250);
    SCOPED_TRACE(fmt::format("seed {}, trial {}: step {}, rank {}, {} ms", seed, trial, step, rank, delay));
    const CommandResult result = disturb(step, rank, delay);
    EXPECT_NE(result.status, 124) << "it hangs";
    EXPECT_EQ(result.status == 0, GetParam().ends_well) << result.output;
    std::vector<std::string> damaged;
    const CheckpointReader left(newest_valid_checkpoint(folder_->path() / "run", damaged));
    EXPECT_TRUE(damaged.empty()) << damaged.front();
    EXPECT_GE(left.meta().step, step);
    EXPECT_LT(left.meta().step, kSteps) << "the fault came too late";
    EXPECT_TRUE(rank_processes(folder_->path(), "run").empty()) << "a rank is left";
    run(fmt::format("mpirun -np {} toller train --resume run", kRanks));
    expect_same_bits(model("run/last"), expected_);
    EXPECT_EQ(losses("run"), losses("undisturbed"));
    fmt::print("| {} | {} | {} | {:.1f} | {} | {} | {} |\n", GetParam().name, rank, step, result.seconds,
               result.status, left.meta().step, HasFailure() ? "FAILED" : "same bits");
    std::fflush(stdout);
  }
}

INSTANTIATE_TEST_SUITE_P(Faults, DisturbedRun,
                         testing::Values(Fault{"KilledInTheStep", false, kill_in_step},
                                         Fault{"KilledInTheCollective", false, kill_in_collective},
                                         Fault{"KilledInTheCheckpoint", false, kill_in_checkpoint},
                                         Fault{"KilledInTheCheckpointOfTwoFiles", false, kill_in_checkpoint,
                                               "--checkpoint-files per-rank"},
                                         Fault{"Stopped", false, stop},
                                         Fault{"ToldToEnd", true, tell_to_end}),
                         [](const auto& fault) { return fault.param.name; });

}  // namespace
}  // namespace toller
