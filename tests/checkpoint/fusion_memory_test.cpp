// Fusion holds blocks, not tensors.
#include <gtest/gtest.h>

#include <fstream>

#include "checkpoint/checkpoint.h"
#include "checkpoint/fusion.h"
#include "temporary_folder.h"

namespace toller {
namespace {

/// A line of /proc/self/status in bytes.
std::int64_t status_bytes(const std::string& field) {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;) {
    if (word == field + ":") {
      std::int64_t kibibytes = 0;
      file >> kibibytes;
      return kibibytes * 1024;
    }
  }
  return -1;
}

/// Makes the peak of resident memory what it is now; false where the system does not let us.
bool reset_peak() {
  std::ofstream("/proc/self/clear_refs") << "5";
  const std::int64_t peak = status_bytes("VmHWM");
  return peak > 0 && peak < status_bytes("VmRSS") + (1 << 20);
}

EncoderConfig wide_encoder(std::int32_t vocabulary) {
  EncoderConfig encoder;
  encoder.vocabulary_size = vocabulary;
  encoder.hidden_size = 64;
  encoder.layers = 1;
  encoder.heads = 1;
  encoder.intermediate_size = 64;
  encoder.max_positions = 16;
  return encoder;
}

TEST(FusionMemory, IsLessThanTheLargestTensor) {
  const TemporaryFolder folder;
  CheckpointMeta meta;
  meta.encoder = wide_encoder(1 << 18);
  const ParameterTable table(meta.encoder);
  const std::int64_t largest = table.tensors().front().size * 4;
  std::vector<std::filesystem::path> paths;
  for (const char* name : {"base.h5", "a.h5", "b.h5"}) {
    std::vector<float> values(static_cast<std::size_t>(table.size()));
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>((i * (7 + paths.size()) + paths.size()) % 1009);
    write_checkpoint<float>(folder / name, meta, table, values, {}, {});
    paths.push_back(folder / name);
  }
  SelfCommunicator alone;
  for (const auto method : {FusionMethod::kDeltaGuided, FusionMethod::kTies, FusionMethod::kSlerp}) {
    if (!reset_peak()) GTEST_SKIP() << "this system does not tell the peak of memory";
    const std::int64_t before = status_bytes("VmRSS");
    fuse_checkpoints({paths[1], paths[2]}, paths[0], {.method = method}, folder / "out.h5", alone);
    const std::int64_t taken = status_bytes("VmHWM") - before;
    EXPECT_LT(taken, largest / 2) << fusion_method_name(method);
    EXPECT_GT(taken, 1 << 20) << "nothing was measured";
  }
}

}  // namespace
}  // namespace toller
