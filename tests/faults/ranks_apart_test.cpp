// Ranks whose parameters are not equal, here because they were started with other options.
#include "runs/training_run.h"

namespace toller {
namespace {

class RanksApart : public TrainingRun {
 protected:
  /// Two ranks with the first options, a third with the second.
  static CommandResult run_apart(const std::string& first, const std::string& second, int every = 2) {
    fs::remove_all(folder_->path() / "apart");
    const std::string common = fmt::format(
        "toller train --data store.h5 --out apart --global-batch 64 --steps 8 --check-ranks-every {}", every);
    return run_command(fmt::format("mpirun -np 2 {} {} : -np 1 {} {}", common, first, common, second),
                       folder_->path(), seconds(60));
  }
};

TEST_F(RanksApart, TheOddOneOutIsNamed) {
  const CommandResult result = run_apart("--lr 1e-3", "--lr 1.0000001e-3");
  EXPECT_EQ(result.status, 1) << result.output;
  EXPECT_NE(result.output.find("after step 2, the parameters of rank 2 are not those of the other 2"),
            std::string::npos)
      << result.output;
}

TEST_F(RanksApart, TheStartIsComparedToo) {
  train(1, "a", "--global-batch 64 --steps 1 --seed 1");
  train(1, "b", "--global-batch 64 --steps 1 --seed 2");
  EXPECT_EQ(run_apart("--init a", "--init a").status, 0);
  const CommandResult result = run_apart("--init a", "--init b");
  EXPECT_EQ(result.status, 1) << result.output;
  EXPECT_NE(result.output.find("after step 0, the parameters of rank 2"), std::string::npos) << result.output;
}

TEST_F(RanksApart, IsNotNoticedWhereNothingIsCompared) {
  const CommandResult result = run_apart("--lr 1e-3", "--lr 2e-3", 0);
  EXPECT_EQ(result.status, 0) << result.output;
}

}  // namespace
}  // namespace toller
