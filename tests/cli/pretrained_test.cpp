// `toller import` and `toller export`.
#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "cli/scratch_folder.h"
#include "temporary_folder.h"

namespace toller {
namespace {

class Pretrained : public testing::Test {
 protected:
  Pretrained() { copy_model("pretrained", "model"); }

  void copy_model(const std::string& fixture, const std::string& name) {
    const std::filesystem::path fixtures = TOLLER_SOURCE_DIR "/tests/checkpoint/fixtures";
    std::filesystem::copy(fixtures / fixture / "model", folder_.path() / name,
                          std::filesystem::copy_options::recursive);
  }
  void expect(const std::string& command, int status, const std::string& text) {
    const CommandResult result = run_command(command, folder_.path(), std::chrono::seconds(60));
    EXPECT_EQ(result.status, status) << command << "\n" << result.output;
    EXPECT_NE(result.output.find(text), std::string::npos) << command << "\n" << result.output;
  }

  ScratchFolder folder_;
};

TEST_F(Pretrained, InAndOut) {
  expect("toller import model --out in.h5", 0,
         "in.h5: 2 layers of 16, 2 heads, 20 positions, vocabulary of 37: 4897 parameters\n"
         "embeddings: mean pooling, unit length\n"
         "weights: model/model.safetensors\n"
         "tokenizer: tokenizer.json\n"
         "texts are cut at 20 tokens\n"
         "not used (no part of the embeddings): pooler.dense.bias, pooler.dense.weight\n");
  expect("toller inspect in.h5", 0, "data sets verified");
  expect("mpirun -np 2 toller export --to sentence-transformers --out out in.h5 --dtype bf16", 0,
         "in.h5 written to out, weights in bf16\n");
  expect("toller import out --out again.h5", 0, "tokenizer: tokenizer.json\n");
  expect("toller export --to sentence-transformers --out twice again.h5 --dtype bf16", 0, "again.h5 written");
  for (const char* file : {"tokenizer.json", "model.safetensors", "config.json"}) {
    EXPECT_EQ(read_bytes(folder_.path() / "out" / file), read_bytes(folder_.path() / "twice" / file)) << file;
  }
}

/// A collection of the words that the fixture's vocabulary knows.
void write_collection(const ScratchFolder& folder) {
  folder.write("mine/corpus.jsonl",
               "{\"_id\": \"1\", \"text\": \"a b c d\"}\n{\"_id\": \"2\", \"text\": \"e f g\"}\n");
  folder.write("mine/queries.jsonl",
               "{\"_id\": \"q1\", \"text\": \"a b\"}\n{\"_id\": \"q2\", \"text\": \"e f\"}\n");
  for (const char* split : {"train", "dev"}) {
    folder.write(fmt::format("mine/qrels/{}.tsv", split), "query-id\tcorpus-id\tscore\nq1\t1\t1\nq2\t2\t1\n");
  }
}

TEST_F(Pretrained, FromPreparingToServing) {
  write_collection(folder_);
  folder_.write("model/config_sentence_transformers.json",
                R"({"prompts": {"query": "find: ", "passage": "p: "}})");
  expect("toller import model --out in.h5", 0,
         "prompts: \"find: \" before queries, \"p: \" before documents");
  expect("toller prepare --collection mine --model in.h5 --document-max-length 9 --out mine.h5", 0,
         "tokenized 4");
  expect("toller inspect mine.h5 --json mine.json && cat mine.json", 0, "\"find: \"");
  expect("toller evaluate --model in.h5 --data mine.h5 --split dev", 0, "ndcg@10");
  expect("toller train --init in.h5 --data mine.h5 --out run --steps 3 --global-batch 2 --dropout 0", 0, "");
  expect("toller encode --model run --input mine/queries.jsonl --side queries --out q.h5", 0, "2 embeddings");
  expect("toller encode --model run --data mine.h5 --side queries --out s.h5", 0, "2 embeddings");
  expect("h5diff q.h5 s.h5 /embeddings /embeddings", 0, "");
  expect("toller export --to sentence-transformers --out out run", 0, "written to out");
  const std::string prompts = read_bytes(folder_.path() / "out/config_sentence_transformers.json");
  EXPECT_NE(prompts.find("\"document\": \"p: \""), std::string::npos) << prompts;

  // Queries and documents with an encoder each, which begin as the same.
  expect("toller train --init in.h5 --separate-towers --data mine.h5 --out towers --steps 2 --global-batch 2",
         0, "");
  expect("toller inspect towers", 0, "documents.encoder.layer.1.output.LayerNorm.weight");
  expect("toller evaluate --model towers --data mine.h5 --split dev", 0, "ndcg@10");
  expect("toller export --to sentence-transformers --out both towers", 2,
         "has separate towers; --side queries or --side documents says which to export");
  for (const std::string side : {"queries", "documents"}) {
    expect("toller export --to sentence-transformers --side " + side + " --out " + side + " towers", 0,
           "written to " + side);
    expect("toller import " + side + " --out " + side + ".h5", 0, "4897 parameters");
    expect("toller encode --model towers --side " + side + " --data mine.h5 --out a.h5", 0, "2 embeddings");
    expect("toller encode --model " + side + ".h5 --side " + side + " --data mine.h5 --out b.h5", 0,
           "2 embeddings");
    expect("h5diff a.h5 b.h5 /embeddings /embeddings", 0, "");
  }
  expect("h5diff queries.h5 documents.h5 /parameters", 1, "");
  expect("toller import queries --document-tower documents --out joined.h5", 0,
         "joined.h5: two towers of 2 layers of 16");
  expect("h5diff --exclude-path /loss.log_temperature joined.h5 towers/step-00000002.h5 /parameters", 0, "");
  expect("toller evaluate --model joined.h5 --data mine.h5 --split dev", 0, "ndcg@10");
  expect("toller export --to sentence-transformers --side queries --out one in.h5", 2,
         "has one tower for both");
  expect("toller train --resume towers --steps 3", 0, "");

  // Other prompts than the model's are no evaluation of it.
  expect("toller prepare --collection mine --model in.h5 --query-prompt '' --out other.h5", 0, "tokenized 4");
  expect(
      "toller evaluate --model in.h5 --data other.h5 --split dev", 1,
      "have different prompts: \"find: \" and \"\" before queries; prepare the collection with the model's");
  expect("toller prepare --collection mine --model in.h5 --max-length 21 --out other.h5", 2,
         "texts of 21 tokens are too long for in.h5, which takes 20");
  expect("toller prepare --collection mine --model in.h5 --train-tokenizer 90 --out other.h5", 2,
         "give one of --model FILE, --tokenizer FILE and --train-tokenizer N");
}

TEST_F(Pretrained, AModelFromScratchIsServedToo) {
  write_collection(folder_);
  expect("toller prepare --collection mine --train-tokenizer 13 --out own.h5", 0,
         "written to own.tokenizer.json");
  expect("toller train --data own.h5 --out own --preset tiny --steps 1 --global-batch 2", 0, "");
  expect("toller export --to sentence-transformers --out served own", 0, "written to served");
  const auto tokenizer = read_bytes(folder_.path() / "own.tokenizer.json");
  EXPECT_EQ(read_bytes(folder_.path() / "served/tokenizer.json"), tokenizer);
  expect("toller import served --out again.h5", 0, "tokenizer: tokenizer.json");
  expect("h5diff --exclude-path /loss.log_temperature again.h5 own/step-00000001.h5 /parameters", 0, "");
  expect("toller prepare --collection mine --tokenizer own.tokenizer.json --out same.h5", 0, "tokenized 4");
  expect("h5diff own.h5 same.h5", 0, "");

  std::filesystem::copy(TOLLER_SOURCE_DIR "/tests/fuzz/corpus/tokenizer/sound-sentencepiece",
                        folder_.path() / "brought.model");
  expect("toller prepare --collection mine --tokenizer brought.model --out brought.h5", 0, "tokenized 4");
  expect("toller train --data brought.h5 --out brought --preset tiny --steps 1 --global-batch 2", 0, "");
  expect("toller export --to sentence-transformers --out converted brought", 0,
         "note: the tokenizer is a sentencepiece model, brought into another form");
  expect("toller import converted --out converted.h5", 0, "tokenizer: tokenizer.json");
}

std::vector<float> read_tensor(const CheckpointReader& model, const std::string& name) {
  const TensorView& tensor = model.table().at(name);
  std::vector<float> values(static_cast<std::size_t>(tensor.size));
  model.read_tensor(tensor, std::span(values));
  return values;
}

TEST_F(Pretrained, EveryArchitectureTrains) {
  write_collection(folder_);
  folder_.write("mine/queries.jsonl",
                "{\"_id\": \"q1\", \"text\": \"a b\"}\n"
                "{\"_id\": \"q2\", \"text\": \"e f g h a b c d e f g h\"}\n");
  for (const std::string name : {"distilbert", "roberta", "xlm-roberta"}) {
    SCOPED_TRACE(name);
    const auto with_name = [&](std::string command) {
      for (std::size_t at; (at = command.find('@')) != std::string::npos;) command.replace(at, 1, name);
      return command;
    };
    const auto run = [&](const std::string& command, const std::string& text) {
      expect(with_name(command), 0, text);
    };
    copy_model("pretrained-" + name, name);
    run("toller import @ --out @.h5", "2 layers of 8");
    run("toller prepare --collection mine --model @.h5 --out @-data.h5", "tokenized 4");
    run("toller train --init @.h5 --data @-data.h5 --out @-run --steps 2 --global-batch 2 --dropout 0 "
        "--warmup 0 "
        "--weight-decay 0",
        "");
    run("toller fuse --method soup --out @-fused.h5 @.h5 @-run", "");
    run("toller export --to sentence-transformers --out @-out @-fused.h5", "written to");
    EXPECT_NE(read_bytes(folder_.path() / (name + "-out/config.json")).find('"' + name + '"'),
              std::string::npos);

    // All moves but what has no gradient: biases of keys, and positions that no text has.
    const CheckpointReader before(folder_.path() / (name + ".h5"));
    const CheckpointReader after(resolve_checkpoint(folder_.path() / (name + "-run")));
    const EncoderConfig& encoder = before.meta().encoder;
    for (const TensorView& tensor : before.table().tensors()) {
      const bool is_same = read_tensor(before, tensor.name) == read_tensor(after, tensor.name);
      EXPECT_EQ(is_same, tensor.name.ends_with("key.bias")) << tensor.name;
    }
    const std::string positions = "embeddings.position_embeddings.weight";
    const std::vector<float> old_rows = read_tensor(before, positions), rows = read_tensor(after, positions);
    for (std::int32_t row = 0; row < encoder.max_positions; ++row) {
      const bool is_used = row >= encoder.position_offset && row < encoder.position_offset + 14;
      const auto first = static_cast<std::ptrdiff_t>(row) * encoder.hidden_size;
      const bool is_same = std::equal(rows.begin() + first, rows.begin() + first + encoder.hidden_size,
                                      old_rows.begin() + first);
      EXPECT_EQ(is_same, !is_used) << "row " << row;
    }
  }
  expect("toller prepare --collection mine --model roberta.h5 --max-length 13 --out other.h5", 2,
         "texts of 13 tokens are too long for roberta.h5, which takes 12");
}

TEST_F(Pretrained, WrongUse) {
  expect("toller import --out in.h5", 2, "the option --dir is required");
  expect("toller import model", 2, "the option --out is required");
  expect("toller import model --out in.h5 --pooling max", 2,
         "pooling 'max' is unknown; choose mean, cls, last");
  expect("toller import model --out in.h5 --pooling cls", 2,
         "--pooling does not go with model: its modules.json");
  expect("toller import model --out in.h5 --normalize", 2, "--normalize does not go with model");
  expect("toller import none --out in.h5", 1, "none: is not a folder");
  expect("rm model/modules.json && toller import model --out in.h5 --pooling cls --normalize", 0,
         "embeddings: cls pooling, unit length");
  expect("toller export --out out in.h5", 2, "the option --to is required");
  expect("toller export --to onnx --out out in.h5", 2,
         "--to 'onnx' is unknown; choose sentence-transformers");
  expect("toller export --to sentence-transformers --out out in.h5 --dtype int8", 2,
         "--dtype 'int8' is unknown; choose fp32, bf16, fp16");
  expect("toller export --to sentence-transformers --out model in.h5", 1, "model: is there already");
}

}  // namespace
}  // namespace toller
