// Disks that fill up while a run goes on: it ends with an error, keeps its last checkpoint, and goes on when
// there is room.
#include <sys/mount.h>

#include <array>

#include "checkpoint/run_checkpoints.h"
#include "runs/training_run.h"

namespace toller {
namespace {

constexpr int kRanks = 2, kSteps = 60;

class FullDisk : public TrainingRun, public testing::WithParamInterface<const char*> {
 protected:
  static std::string options() {
    return fmt::format("--global-batch 64 --steps {} --checkpoint-every 10 --keep 0 --checkpoint-files {}",
                       kSteps, GetParam());
  }
  static std::int64_t bytes_of(const fs::path& run, const std::string& step) {
    std::int64_t bytes = 0;
    for (const auto& entry : fs::directory_iterator(run)) {
      if (entry.path().filename().string().starts_with(step))
        bytes += static_cast<std::int64_t>(entry.file_size());
    }
    return bytes;
  }
  ~FullDisk() override {
    if (!disk_.empty()) umount(disk_.c_str());
  }

  fs::path disk_;
};

INSTANTIATE_TEST_SUITE_P(CheckpointFiles, FullDisk, testing::Values("one", "per-rank"),
                         [](const auto& layout) {
                           return layout.param == std::string("one") ? "One" : "PerRank";
                         });

TEST_P(FullDisk, EndsTheRunAndLeavesTheLastCheckpoint) {
  train(kRanks, "undisturbed", options());
  const std::int64_t checkpoint = bytes_of(folder_->path() / "undisturbed", "step-00000010");
  std::mt19937 generator(std::random_device{}());
  const auto share = std::uniform_real_distribution(2.2, 6.8)(generator);  // of seven checkpoints
  SCOPED_TRACE(fmt::format("room for {} checkpoints", share));
  disk_ = folder_->path() / "disk";
  fs::create_directory(disk_);
  const auto size = static_cast<std::int64_t>(share * static_cast<double>(checkpoint));
  if (mount("tmpfs", disk_.c_str(), "tmpfs", 0, fmt::format("size={}", size).c_str()) != 0) {
    disk_.clear();
    GTEST_SKIP() << "cannot mount";
  }

  const CommandResult result = run_command(
      fmt::format("mpirun -q -np {} toller train --data store.h5 --log-every 1 {} --out disk/run {}", kRanks,
                  model_options_, options()),
      folder_->path(), seconds(60));
  EXPECT_EQ(result.status, 1) << result.output;
  EXPECT_NE(result.output.find("disk/run/"), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("No space left"), std::string::npos) << result.output;
  std::vector<std::string> damaged;
  const CheckpointReader left(newest_valid_checkpoint(disk_ / "run", damaged));
  EXPECT_TRUE(damaged.empty()) << damaged.front();
  EXPECT_EQ(fs::read_symlink(disk_ / "run" / "last"), left.path().filename());
  EXPECT_LT(left.meta().step, kSteps);

  ASSERT_EQ(mount("tmpfs", disk_.c_str(), "tmpfs", MS_REMOUNT, "size=100m"), 0);
  run(fmt::format("mpirun -np {} toller train --resume disk/run", kRanks));
  expect_same_bits(model("disk/run/last"), model("undisturbed/last"));
  EXPECT_EQ(losses("disk/run"), losses("undisturbed"));
}

}  // namespace
}  // namespace toller
