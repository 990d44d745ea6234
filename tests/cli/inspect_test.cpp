// What `toller inspect` says about a checkpoint in parts.
#include <gtest/gtest.h>

#include "checkpoint/checkpoint_tensors.h"
#include "checkpoint/written_by_ranks.h"
#include "cli/scratch_folder.h"
#include "temporary_folder.h"

namespace toller {
namespace {

class Inspect : public testing::Test {
 protected:
  Inspect() { write_by_ranks(path_, SmallModel<float>(), 2, CheckpointLayout::kFilePerRank); }

  CommandResult inspect() {
    const CommandResult result = run_command("toller inspect step-00000042.h5 --json out.json",
                                             folder_.path(), std::chrono::seconds(60));
    found_ = nlohmann::json::parse(read_bytes(folder_.path() / "out.json"));
    return result;
  }
  void expect_damage(const std::string& text) {
    const CommandResult result = inspect();
    EXPECT_EQ(result.status, 1);
    EXPECT_NE(result.output.find(text), std::string::npos) << result.output;
    EXPECT_EQ(found_["parts"].size(), 2U);
  }

  ScratchFolder folder_;
  std::filesystem::path path_ = folder_.path() / "step-00000042.h5";
  nlohmann::json found_;
};

TEST_F(Inspect, ListsAndVerifiesParts) {
  const CommandResult result = inspect();
  EXPECT_EQ(result.status, 0) << result.output;
  ASSERT_EQ(found_["parts"].size(), 2U);
  EXPECT_EQ(found_["parts"][1]["file"], "step-00000042.rank-00001-of-00002.h5");
  const std::size_t tensors = SmallModel<float>().table.tensors().size();
  EXPECT_EQ(found_["tensors"].size(), tensors);
  EXPECT_TRUE(found_["optimizer"]);
  EXPECT_GT(found_["datasets"].size(), 3 * tensors);  // some tensors are in both parts
  for (const auto& dataset : found_["datasets"]) EXPECT_EQ(dataset["checksum"], "verified");
  EXPECT_NE(result.output.find("part: {\"file\":\"step-00000042.rank-00000-of-00002.h5\",\"bytes\":"),
            std::string::npos)
      << result.output;
}

TEST_F(Inspect, NamesThePartThatIsDamaged) {
  const auto part = checkpoint_part_path(path_, 1, 2);
  std::string bytes = read_bytes(part);
  const std::string value(reinterpret_cast<const char*>(&SmallModel<float>().v.back()), sizeof(float));
  bytes[bytes.rfind(value)] ^= 1;
  write_bytes(part, bytes);
  const std::string name = part.filename().string();
  expect_damage(name + ": data set /optimizer/v/loss.log_temperature: checksum");
  std::filesystem::remove(part);
  expect_damage(name + ": cannot");
}

}  // namespace
}  // namespace toller
