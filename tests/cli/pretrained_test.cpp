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
         "not used (no part of the embeddings): pooler.dense.bias, pooler.dense.weight\n");
  expect("toller inspect in.h5", 0, "data sets verified");
  expect("mpirun -np 2 toller export --to sentence-transformers --out out in.h5 --dtype bf16", 0,
         "in.h5 written to out, weights in bf16\n");
  expect("toller import out --out again.h5", 0, "tokenizer: tokenizer.json\n");
  EXPECT_EQ(read_bytes(folder_.path() / "out/tokenizer.json"),
            read_bytes(folder_.path() / "model/tokenizer.json"));
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
