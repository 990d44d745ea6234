// `toller import` and `toller export`.
#include <gtest/gtest.h>

#include "cli/scratch_folder.h"
#include "temporary_folder.h"

namespace toller {
namespace {

class Pretrained : public testing::Test {
 protected:
  Pretrained() {
    std::filesystem::copy(TOLLER_SOURCE_DIR "/tests/checkpoint/fixtures/pretrained/model",
                          folder_.path() / "model", std::filesystem::copy_options::recursive);
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
