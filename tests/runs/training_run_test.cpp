// Runs as users start them: ranks agree, a repeated run is the same bit by bit, and a run that was killed or
// told to stop goes on as if nothing had happened.
#include "runs/training_run.h"
#include "runs/rank_processes.h"

namespace toller {
namespace {

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
      for (const auto& [rank, process] : rank_processes(folder_->path(), "killed")) kill(process, SIGKILL);
    });
    const CommandResult result =
        run_command(fmt::format("mpirun -np 2 toller train --data store.h5 --log-every 1 {} --out killed {}",
                                model_options_, options),
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
  for (const int signal : {SIGTERM, SIGUSR1}) {
    fs::remove_all(folder_->path() / "stopped");
    std::thread sender([&] {
      wait_for(folder_->path() / "stopped" / "step-00000010.h5");
      // To one rank alone: all agree to stop after the same step.
      EXPECT_TRUE(signal_rank(folder_->path(), "stopped", 0, signal));
    });
    const CommandResult result =
        run_command(fmt::format("mpirun -np 2 toller train --data store.h5 --log-every 1 {} --out stopped "
                                "--global-batch 64 --steps 100000 "
                                "--checkpoint-every 10",
                                model_options_),
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

TEST_F(TrainingRun, ShardedOptimiserStateIsTheSameRun) {
  const std::string all = "--global-batch 64 --steps 6 --learn-temperature";
  for (const int ranks : {1, 2, 3}) {
    train(ranks, "whole", all);
    train(ranks, "sharded", all + " --zero 1");
    const Model whole = model("whole/last"), sharded = model("sharded/last");
    EXPECT_LT(relative_difference(whole.parameters, sharded.parameters), 1e-6) << ranks;
    EXPECT_LT(relative_difference(whole.m, sharded.m), 1e-5) << ranks;
    EXPECT_LT(relative_difference(whole.v, sharded.v), 1e-5) << ranks;
  }
}

TEST_F(TrainingRun, ACheckpointOfFourRanksGoesOnOnAnyNumber) {
  for (const std::string files : {"one", "per-rank"}) {
    const std::string all =
        "--global-batch 64 --steps 8 --checkpoint-every 4 --zero 1 --verify --checkpoint-files " + files;
    train(4, "four", all);
    const Model expected = model("four/last");
    for (const int ranks : {4, 2, 1}) {
      fs::remove_all(folder_->path() / "fewer");
      fs::copy(folder_->path() / "four", folder_->path() / "fewer");
      fs::remove(folder_->path() / "fewer" / "step-00000008.h5");
      run(fmt::format("mpirun -np {} toller train --resume fewer", ranks));
      const Model resumed = model("fewer/last");
      if (ranks == 4) expect_same_bits(resumed, expected);
      EXPECT_EQ(resumed.step, 8);
      EXPECT_LT(relative_difference(resumed.parameters, expected.parameters), 1e-5) << files << ranks;
    }
  }
}

TEST_F(TrainingRun, HowACheckpointIsWrittenChangesNothingInIt) {
  const std::string all = "--global-batch 64 --steps 12 --keep 2 --checkpoint-every ";
  train(3, "together", all + "3");
  const Model expected = model("together/last");
  for (const std::string other : {"3 --checkpoint-files per-rank", "3 --verify", "1"}) {
    train(3, "other", all + other);
    expect_same_bits(model("other/last"), expected);
    int files = 0;
    for (const auto& entry : fs::directory_iterator(folder_->path() / "other")) {
      files += entry.path().filename().string().find("step-") != std::string::npos ? 1 : 0;
    }
    EXPECT_EQ(files, 3 * (other.find("per-rank") == std::string::npos ? 1 : 4)) << "step 0 and two more";
    run("toller fuse --method soup --out soup.h5 'other/step-*.h5'");  // parts are no models
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
    EXPECT_TRUE(parameters("fused.h5") == original) << method;
  }
}

TEST_F(TrainingRun, AFusionHasTheSameBitsForAnyNumberOfRanks) {
  train(1, "fused-run", "--global-batch 64 --steps 4 --checkpoint-every 2");
  for (const char* method : {"delta-guided --granularity layer", "soup", "task-arithmetic --lambda 0.5",
                             "ties", "dare --drop 0.9", "slerp --t 0.3"}) {
    const bool has_base = !std::string(method).starts_with("s");
    std::vector<std::string> files;
    for (const int ranks : {1, 2, 3}) {
      run(fmt::format("mpirun -np {} {} fuse --method {} {} --out fused.h5 'fused-run/step-0000000[24].h5'",
                      ranks, program_, method, has_base ? "--base fused-run/step-00000000.h5" : ""));
      files.push_back(bytes("fused.h5"));
    }
    EXPECT_TRUE(files[0] == files[1] && files[0] == files[2]) << method;
  }
}

TEST_F(TrainingRun, SearchesForAFusionAgreeForAnyNumberOfRanks) {
  train(1, "searched", "--global-batch 64 --steps 4 --checkpoint-every 1 --keep 9");
  for (const char* method :
       {"--method greedy-soup", "--sweep --granularity row --base searched/step-00000000.h5",
        "--sweep --method all --search coordinates --trials 2 --base searched/step-00000000.h5"}) {
    std::vector<nlohmann::json> results;
    std::vector<std::string> files;
    for (const int ranks : {1, 2, 3}) {
      const std::string output = run(fmt::format(
          "mpirun -np {} {} fuse {} --data store.h5 --split train --eval-queries 50 --json search.json "
          "--plot search.svg --out fused.h5 'searched/**/step-*[1-4].h5'",
          ranks, program_, method));
      EXPECT_NE(output.find("* "), std::string::npos) << output;
      std::ifstream file(folder_->path() / "search.json");
      results.push_back(nlohmann::json::parse(file));
      files.push_back(bytes("fused.h5"));
      const std::string picture = bytes("search.svg");
      EXPECT_TRUE(picture.starts_with("<svg ") && picture.ends_with("</svg>\n")) << picture;
      EXPECT_NE(picture.find("#d1495b"), std::string::npos) << "the best is not marked";
    }
    EXPECT_TRUE(results[0] == results[1] && results[0] == results[2]) << method;
    EXPECT_TRUE(files[0] == files[1] && files[0] == files[2]) << method;
    const nlohmann::json& result = results[0];
    EXPECT_EQ(result.at("ingredients").size(), 4U);
    const double best = result.at("fusions").at(result.at("best").get<std::size_t>()).at("ndcg@10");
    for (const nlohmann::json& fusion : result.at("fusions")) EXPECT_LE(fusion.at("ndcg@10"), best);
    run("toller evaluate --model fused.h5 --data store.h5 --split train --json fused.json");
  }
}

}  // namespace
}  // namespace toller
