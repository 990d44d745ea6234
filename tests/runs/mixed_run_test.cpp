// Runs on several data sets: search and similarity in one run, a teacher's scores, and what is to be
// forgotten.
#include "runs/training_run.h"

namespace toller {
namespace {

/// Pairs of sentences; the score is how many of the second one's words are the first one's.
void write_pairs(const ScratchFolder& folder) {
  std::mt19937 generator(6);
  const auto word = [&] { return fmt::format("w{}", static_cast<char>('a' + generator() % 26)); };
  for (const auto& [split, count] : {std::pair{"train", 90}, {"dev", 40}}) {
    std::string rows = "score\tsentence1\tsentence2\n";
    for (int pair = 0; pair < count; ++pair) {
      const int shared = static_cast<int>(generator() % 6);
      std::string first, second;
      for (int i = 0; i < 5; ++i) {
        const std::string same = word();
        first += same + " ";
        second += (i < shared ? same : word() + "q") + " ";
      }
      rows += fmt::format("{}\t{}\t{}\n", shared, first, second);
    }
    folder.write(fmt::format("pairs-collection/pairs/{}.tsv", split), rows);
  }
}

class MixedRun : public TrainingRun {
 protected:
  static void SetUpTestSuite() {
    TrainingRun::SetUpTestSuite();
    fs::create_directories(folder_->path() / "pairs-collection" / "pairs");
    write_pairs(*folder_);
    run("toller prepare --collection pairs-collection --tokenizer store.tokenizer.json --out pairs.h5");
  }

  /// A store of the same texts with other judgements: `row` turns a line of the qrels file into another, or
  /// "".
  template <class Row>
  static void prepare_variant(const std::string& name, const std::string& header, Row row) {
    std::ifstream in(folder_->path() / "collection" / "qrels" / "train.tsv");
    std::string line, rows = header + "\n";
    std::getline(in, line);
    while (std::getline(in, line)) rows += row(line);
    fs::create_directories(folder_->path() / name / "qrels");
    for (const char* file : {"corpus.jsonl", "queries.jsonl"}) {
      fs::copy_file(folder_->path() / "collection" / file, folder_->path() / name / file);
    }
    folder_->write(name + "/qrels/train.tsv", rows);
    run(fmt::format("toller prepare --collection {0} --tokenizer store.tokenizer.json --out {0}.h5", name));
  }

  static double mrr(const std::string& model, const std::string& store) {
    run(fmt::format("toller evaluate --model {} --data {} --split train --json evaluation.json", model,
                    store));
    return nlohmann::json::parse(std::ifstream(folder_->path() / "evaluation.json"))["mrr@10"];
  }

  static nlohmann::json metrics_line(const std::string& out, const std::string& key) {
    nlohmann::json found;
    std::ifstream in(folder_->path() / out / "metrics.jsonl");
    for (std::string line; std::getline(in, line);) {
      const auto object = nlohmann::json::parse(line);
      if (object.contains(key)) found = object;
    }
    return found;
  }

  static inline const std::string kMixed =
      "--data pairs.h5 --loss infonce --loss cosent:0.5 --loss rank-kl:0.5 --global-batch 32 --dropout 0.1 "
      "--learn-temperature --seed 3 ";
};

TEST_F(MixedRun, RanksAgree) {
  train(1, "np1", kMixed + "--steps 8");
  const Model one = model("np1/last");
  for (const int ranks : {2, 4}) {
    train(ranks, "many", kMixed + "--steps 8");
    EXPECT_LT(relative_difference(one.parameters, model("many/last").parameters), 1e-5) << ranks << " ranks";
    const std::vector<double> expected = losses("np1"), found = losses("many");
    ASSERT_EQ(found.size(), 8u);
    for (int i = 0; i < 8; ++i) EXPECT_NEAR(found[i], expected[i], 1e-5 * std::abs(expected[i])) << ranks;
  }
}

TEST_F(MixedRun, GoesOnWithTheSameBatches) {
  const std::string options = kMixed + "--data-weights 2,1 --steps 12 --checkpoint-every 5";
  train(2, "whole", options);
  train(2, "again", options);
  for (const char* later : {"step-00000012.h5", "step-00000010.h5"}) {
    fs::remove(folder_->path() / "again" / later);
  }
  run("mpirun -np 2 toller train --resume again");
  expect_same_bits(model("again/last"), model("whole/last"));
  EXPECT_EQ(losses("again"), losses("whole"));
}

TEST_F(MixedRun, LearnsBothAndSaysWhichIsWhich) {
  const std::string output =
      train(2, "both",
            "--data pairs.h5 --loss infonce --loss cosent --global-batch 32 --epochs 25 --lr 3e-3 "
            "--eval-every 60 --eval-split dev --dropout 0");
  EXPECT_NE(output.find("store: 130 queries, 260 documents, 5 of 8 batches; pairs: 90 pairs, 3 of 8"),
            std::string::npos)
      << output;
  EXPECT_NE(output.find("pairs/dev Spearman"), std::string::npos) << output;
  EXPECT_GT(metrics_line("both", "pairs/dev/spearman")["pairs/dev/spearman"], 0.3);
  EXPECT_TRUE(metrics_line("both", "pairs/loss").contains("pairs/loss"));
  EXPECT_LT(metrics_line("both", "store/loss")["store/loss"], 1.0);
  run("mpirun -np 2 toller evaluate --model both --data pairs.h5 --split train --json pairs.json");
  const auto evaluation = nlohmann::json::parse(std::ifstream(folder_->path() / "pairs.json"));
  EXPECT_GT(evaluation["spearman"], 0.8);
  EXPECT_EQ(evaluation["pairs"], 90);
}

TEST_F(MixedRun, FollowsATeacher) {
  // The teacher prefers the document with the lower grade, and likes the one that is not relevant least.
  prepare_variant("taught", "query-id\tcorpus-id\tscore\tteacher", [](const std::string& line) {
    return fmt::format("{}\t{}\n", line, line.back() == '0' ? 0 : '3' - line.back());
  });
  for (const char* loss : {"kl", "margin-mse"}) {
    fs::remove_all(folder_->path() / "pupil");
    run(fmt::format(
        "mpirun -np 2 toller train --data taught.h5 {} --out pupil --loss {} --positives 2 "
        "--hard-negatives 1 --global-batch 64 --epochs 30 --lr 3e-3 --dropout 0 --temperature 0.2 "
        "--log-every 1",
        model_options_, loss));
    const std::vector<double> values = losses("pupil");
    EXPECT_LT(values.back(), 0.5 * values.front()) << loss;
  }
}

TEST_F(MixedRun, ForgetsWhatItIsToldAndKeepsTheRest) {
  const auto is_forgotten = [](const std::string& line) { return std::stoi(line.substr(1)) < 40; };
  const std::string header = "query-id\tcorpus-id\tscore";
  prepare_variant("forgotten", header,
                  [&](const std::string& line) { return is_forgotten(line) ? line + "\n" : ""; });
  prepare_variant("kept", header,
                  [&](const std::string& line) { return is_forgotten(line) ? "" : line + "\n"; });
  train(2, "knows", "--global-batch 64 --epochs 40 --lr 3e-3 --dropout 0");
  ASSERT_GT(mrr("knows", "forgotten.h5"), 0.5);
  fs::remove_all(folder_->path() / "forgets");
  run("mpirun -np 2 toller train --init knows --data kept.h5 --forget forgotten.h5 --out forgets "
      "--list-scale 5 "
      "--forget-weight 3 --global-batch 32 --epochs 40 --lr 3e-3 --dropout 0");
  EXPECT_LT(mrr("forgets", "forgotten.h5"), 0.5 * mrr("knows", "forgotten.h5"));
  EXPECT_GT(mrr("forgets", "kept.h5"), 0.8 * mrr("knows", "kept.h5"));
}

}  // namespace
}  // namespace toller
