// A run that ends by itself before its time is up.
#include "runs/training_run.h"

namespace toller {
namespace {

class TimeLimitedRun : public TrainingRun {};

TEST_F(TimeLimitedRun, EndsBeforeTheLimitAndGoesOn) {
  const auto begin = std::chrono::steady_clock::now();
  const std::string output = train(2, "limited", "--global-batch 64 --steps 100000 --time-limit 0:00:04");
  const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  EXPECT_NE(output.find("stopped for the --time-limit 0:00:04 after step"), std::string::npos) << output;
  EXPECT_LT(elapsed, 4 + 2) << "two seconds for mpirun";
  const std::int64_t step = model("limited/last").step;
  EXPECT_GT(step, 1);
  run(fmt::format("mpirun -np 2 toller train --resume limited --steps {} --time-limit 0", step + 2));
  EXPECT_EQ(model("limited/last").step, step + 2);
}

}  // namespace
}  // namespace toller
