// The inputs that the fuzzers began with, which can be read (sound-…), and those that they kept.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "fuzz/hostile_input.h"

namespace toller {
namespace {

void try_corpus(const char* name, bool (*read)(std::span<const std::uint8_t>)) {
  int sound = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(TOLLER_SOURCE_DIR "/tests/fuzz/corpus/" + std::string(name))) {
    SCOPED_TRACE(entry.path());
    std::ifstream in(entry.path(), std::ios::binary);
    const std::vector<std::uint8_t> bytes{std::istreambuf_iterator<char>(in), {}};
    bool succeeded = false;
    EXPECT_NO_THROW(succeeded = read(bytes));
    if (!entry.path().filename().string().starts_with("sound-")) continue;
    EXPECT_TRUE(succeeded);
    ++sound;
  }
  EXPECT_GT(sound, 0);
}

TEST(HostileInput, Checkpoints) {
  try_corpus("checkpoint", read_as_checkpoint);
}

TEST(HostileInput, Stores) {
  try_corpus("store", read_as_store);
}

TEST(HostileInput, Collections) {
  try_corpus("collection", read_as_collection);
}

TEST(HostileInput, Safetensors) {
  try_corpus("safetensors", read_as_safetensors);
}

TEST(HostileInput, PretrainedModels) {
  try_corpus("pretrained", read_as_pretrained);
}

TEST(HostileInput, Tokenizers) {
  try_corpus("tokenizer", read_as_tokenizer);
}

TEST(HostileInput, Configs) {
  try_corpus("config", read_as_config);
}

}  // namespace
}  // namespace toller
