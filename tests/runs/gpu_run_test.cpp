// Runs on the GPU backend as users start them, by the program over host_cuda: the same results as on the CPU,
// repeatable, resumable, and refused with the numbers where the GPU's memory is too small.
#include "io/hdf5_file.h"
#include "runs/training_run.h"

namespace toller {
namespace {

class GpuRun : public TrainingRun {
 protected:
  static void SetUpTestSuite() {
    TrainingRun::SetUpTestSuite();
    program_ = TOLLER_HOST_CUDA;
    model_options_ = "--layers 2 --hidden-size 64 --heads 2 --intermediate-size 96 --max-length 20";
  }

  static nlohmann::json evaluation(const std::string& model, const std::string& options) {
    run(fmt::format("{} evaluate --model {} --data store.h5 --split train --json evaluation.json {}",
                    program_, model, options));
    return nlohmann::json::parse(std::ifstream(folder_->path() / "evaluation.json"));
  }
};

TEST_F(GpuRun, FloatIsTheCpus) {
  const std::string all = "--global-batch 64 --steps 5 --learn-temperature --symmetric --positives 2 ";
  train(1, "cpu", all + "--device cpu");
  const Model cpu = model("cpu/last");
  for (const int ranks : {1, 2, 4}) {
    const std::string output = train(ranks, "gpu", all + "--device cuda --precision float");
    EXPECT_NE(output.find("on GPU 0"), std::string::npos) << output;
    const Model gpu = model("gpu/last");
    EXPECT_LT(relative_difference(cpu.parameters, gpu.parameters), 1e-5) << ranks << " ranks";
    const std::vector<double> cpu_losses = losses("cpu"), gpu_losses = losses("gpu");
    ASSERT_EQ(gpu_losses.size(), 5u);
    for (int i = 0; i < 5; ++i) EXPECT_NEAR(gpu_losses[i], cpu_losses[i], 1e-5 * cpu_losses[i]);
  }
}

TEST_F(GpuRun, AutoTakesTheGpuAndComputesInBfloat16) {
  const std::string output = train(2, "auto", "--global-batch 64 --steps 2");
  EXPECT_NE(output.find("on GPU 0 (host CUDA), bf16"), std::string::npos) << output;
  const std::string told = train(1, "told", "--global-batch 64 --steps 1 --device cpu");
  EXPECT_NE(told.find("on CPU"), std::string::npos) << told;
}

TEST_F(GpuRun, RepeatsAndResumesToTheSameBits) {
  const std::string options = "--global-batch 64 --steps 6 --checkpoint-every 3";
  train(2, "whole", options);
  train(2, "again", options);
  expect_same_bits(model("again/last"), model("whole/last"));
  fs::remove(folder_->path() / "again" / "step-00000006.h5");
  run(fmt::format("mpirun -np 2 {} train --resume again", program_));
  expect_same_bits(model("again/last"), model("whole/last"));
}

TEST_F(GpuRun, TheLossFallsInBfloat16) {
  train(2, "falls", "--global-batch 32 --epochs 8 --lr 3e-3");
  const std::vector<double> values = losses("falls");
  EXPECT_LT(values.back(), 0.7 * values.front());
}

TEST_F(GpuRun, EvaluatesAndEncodesAsTheCpu) {
  train(1, "model", "--global-batch 64 --steps 2 --device cpu --eval-every 2 --eval-split train");
  const nlohmann::json cpu = evaluation("model", "--device cpu"), gpu = evaluation("model", "--device cuda"),
                       rounded = evaluation("model", "--device cuda --precision bf16");
  for (const char* metric : {"ndcg@10", "mrr@10", "recall@100", "auc"}) {
    EXPECT_NEAR(gpu[metric].get<double>(), cpu[metric].get<double>(), 1e-3) << metric;
    EXPECT_NEAR(rounded[metric].get<double>(), cpu[metric].get<double>(), 3e-2) << metric;
  }
  const std::string encode = "mpirun -np 2 {} encode --model model --data store.h5 --out {} --device {}";
  run(fmt::format(fmt::runtime(encode), program_, "cpu.h5", "cpu"));
  run(fmt::format(fmt::runtime(encode), program_, "gpu.h5", "cuda"));
  const auto cpu_values = Hdf5Reader(folder_->path() / "cpu.h5").read<float>("/embeddings");
  const auto gpu_values = Hdf5Reader(folder_->path() / "gpu.h5").read<float>("/embeddings");
  ASSERT_EQ(cpu_values.size(), gpu_values.size());
  for (std::size_t i = 0; i < cpu_values.size(); ++i) ASSERT_NEAR(cpu_values[i], gpu_values[i], 1e-5);
}

TEST_F(GpuRun, EvaluatesWhileItTrains) {
  const std::string output =
      train(2, "watched", "--global-batch 64 --steps 2 --eval-every 1 --eval-split train --eval-queries 20");
  EXPECT_NE(output.find("step 2: train nDCG@10"), std::string::npos) << output;
}

TEST_F(GpuRun, StepsThatAreNotFiniteAreSkippedAndEndTheRun) {
  train(1, "start", "--global-batch 64 --steps 1 --device cpu");
  write_overflowing_model("start/last", "huge.h5");
  for (const char* precision : {"bf16", "float"}) {
    fs::remove_all(folder_->path() / "overflows");
    const CommandResult result = run_command(
        fmt::format("mpirun -np 2 {} train --data store.h5 --out overflows --device cuda --precision {} "
                    "--max-length 20 --global-batch 64 --steps 5 --init huge.h5 --max-skipped-steps 2",
                    program_, precision),
        folder_->path(), seconds(60));
    EXPECT_EQ(result.status, 1) << result.output;
    for (const char* part :
         {"step 2: the loss is", "2 in a row, 2 in all", "step 3: the loss is",
          "embeddings.word_embeddings.weight", "3 in a row cannot be made", "overflows/step-00000000.h5"}) {
      EXPECT_NE(result.output.find(part), std::string::npos) << part << " in: " << result.output;
    }
  }
}

TEST_F(GpuRun, ParametersThatDifferBetweenRanksAreNoticed) {
  const std::string common = fmt::format(
      "{} train --data store.h5 --out apart {} --global-batch 64 --steps 4 --device cuda --check-ranks-every "
      "2",
      program_, model_options_);
  const CommandResult result =
      run_command(fmt::format("mpirun -np 2 {} : -np 1 {} --lr 1.0000001e-3", common, common),
                  folder_->path(), seconds(60));
  EXPECT_EQ(result.status, 1) << result.output;
  EXPECT_NE(result.output.find("after step 2, the parameters of rank 2 are not those"), std::string::npos)
      << result.output;
}

TEST_F(GpuRun, TooLittleMemoryIsToldBeforeTheFirstStep) {
  const std::string command =
      fmt::format("HOST_CUDA_MEMORY={} {} train --data store.h5 {} --out small --global-batch 64 --steps 1",
                  310'000'000, program_, "--layers 24 --hidden-size 64 --heads 2 --intermediate-size 96");
  const CommandResult result = run_command(command, folder_->path(), seconds(60));
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.output.find("a step needs 0."), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("GiB are free"), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("--micro-batch"), std::string::npos) << result.output;
  EXPECT_FALSE(fs::exists(folder_->path() / "small" / "last"));
}

TEST_F(GpuRun, WhatCannotBeHadIsRefused) {
  const auto refused = [&](const std::string& program, const std::string& options, const std::string& text) {
    const CommandResult result =
        run_command(fmt::format("{} train --data store.h5 --out refused {}", program, options),
                    folder_->path(), seconds(60));
    EXPECT_EQ(result.status, 2) << options << result.output;
    EXPECT_NE(result.output.find(text), std::string::npos) << options << "\n" << result.output;
  };
  refused(program_, "--device cuda --precision double", "--precision double is for --device cpu");
  refused(program_, "--device cpu --precision bf16", "--precision bf16 is for a GPU");
  refused(program_, "--communicator rdma", "--communicator 'rdma' is unknown");
  refused(program_, "--timeout 0", "--timeout is 0");
  refused(program_, "--device cuda --layers 2 --hidden-size 48 --heads 4 --intermediate-size 96", "heads");
}

}  // namespace
}  // namespace toller
