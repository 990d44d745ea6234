#include "checkpoint/run_checkpoints.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "checkpoint/checkpoint.h"
#include "error.h"
#include "temporary_folder.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

class Run : public testing::Test {
 protected:
  fs::path write(std::int64_t step, bool optimizer = true) {
    CheckpointMeta meta;
    meta.encoder = EncoderConfig{.vocabulary_size = 3,
                                 .hidden_size = 2,
                                 .layers = 1,
                                 .heads = 1,
                                 .intermediate_size = 2,
                                 .max_positions = 2};
    meta.step = step;
    const ParameterTable table(meta.encoder);
    const std::vector<float> values(static_cast<std::size_t>(table.size()), 1.0F);
    const std::span<const float> moments = optimizer ? std::span(values) : std::span<const float>();
    const fs::path path = checkpoint_path(run.path(), step);
    write_checkpoint<float>(path, meta, table, values, moments, moments);
    return path;
  }
  std::vector<std::int64_t> steps() const {
    std::vector<std::int64_t> found;
    for (const RunCheckpoint& checkpoint : list_checkpoints(run.path())) found.push_back(checkpoint.step);
    return found;
  }
  fs::path newest() {
    skipped.clear();
    return newest_valid_checkpoint(run.path(), skipped);
  }

  TemporaryFolder run;
  std::vector<std::string> skipped;
};

using Steps = std::vector<std::int64_t>;

TEST_F(Run, ListsCheckpointsInTheOrderOfTheirSteps) {
  for (const char* name :
       {"step-00000100.h5", "step-00000020.h5", "step-1000000000.h5", "step-00000000.h5"}) {
    write_bytes(run / name, "x");
  }
  for (const char* name : {"step-20.h5", "step-0000002x.h5", "step-00000020.h5.bak",
                           ".step-00000030.h5.tmp-7", "metrics.jsonl", "step-99999999999999999999.h5"}) {
    write_bytes(run / name, "x");
  }
  EXPECT_EQ(steps(), (Steps{0, 20, 100, 1000000000}));
  EXPECT_EQ(list_checkpoints(run.path())[1].path, run / "step-00000020.h5");
  EXPECT_EQ(checkpoint_path(run.path(), 1000000000), run / "step-1000000000.h5");
  EXPECT_THROW(list_checkpoints(run / "none"), Error);
}

TEST_F(Run, LastLeadsToTheNewest) {
  const fs::path first = write(1), second = write(2);
  publish_last(run.path(), first);
  EXPECT_EQ(fs::read_symlink(run / "last"), "step-00000001.h5");
  publish_last(run.path(), second);
  EXPECT_EQ(fs::read_symlink(run / "last"), "step-00000002.h5");
  EXPECT_EQ(resolve_checkpoint(run.path()), second);
  EXPECT_EQ(resolve_checkpoint(first), first);
  EXPECT_EQ(CheckpointReader(run / "last").meta().step, 2);
  EXPECT_EQ(run.entries().size(), 3U);
}

TEST_F(Run, LastThatLeadsNowhere) {
  const auto message = [](const fs::path& path) {
    return message_of<Error>([&] { resolve_checkpoint(path); });
  };
  EXPECT_NE(message(run / "none").find("there is no such file or folder"), std::string::npos);
  EXPECT_NE(message(run.path()).find("is a folder without 'last'"), std::string::npos);
  publish_last(run.path(), run / "step-00000007.h5");
  EXPECT_NE(message(run.path()).find("step-00000007.h5, which is not a file"), std::string::npos);
  fs::remove(run / "last");
  fs::create_directory(run / "last");
  EXPECT_NE(message_of<Error>([&] { publish_last(run.path(), write(1)); }).find("cannot make it a link"),
            std::string::npos);
  EXPECT_EQ(run.entries().size(), 2U);
}

TEST_F(Run, KeepsTheNewestTheFirstAndTheLast) {
  for (const std::int64_t step : {0, 10, 20, 30, 40}) write_bytes(checkpoint_path(run.path(), step), "x");
  write_bytes(run / ".step-00000050.h5.tmp-123", "x");
  write_bytes(run / "metrics.jsonl", "x");
  remove_old_checkpoints(run.path(), 3);
  EXPECT_EQ(steps(), (Steps{0, 20, 30, 40}));
  publish_last(run.path(), run / "step-00000020.h5");
  remove_old_checkpoints(run.path(), 1);
  EXPECT_EQ(steps(), (Steps{0, 20, 40}));
  publish_last(run.path(), run / "step-00000040.h5");
  remove_old_checkpoints(run.path(), 1);
  EXPECT_EQ(steps(), (Steps{0, 40}));
  remove_old_checkpoints(run.path(), 100);
  EXPECT_EQ(steps(), (Steps{0, 40}));
  auto entries = run.entries();
  std::ranges::sort(entries);
  EXPECT_EQ(entries,
            (std::vector<std::string>{"last", "metrics.jsonl", "step-00000000.h5", "step-00000040.h5"}));
}

TEST_F(Run, NewestValidSkipsWhatCannotBeResumed) {
  const fs::path whole = write(1);
  write(2, false);
  fs::copy_file(whole, checkpoint_path(run.path(), 3));
  fs::resize_file(write(4), 3000);
  std::string bytes = read_bytes(write(5));
  const std::string values(reinterpret_cast<const char*>(std::vector<float>(6, 1.0F).data()), 24);
  bytes[bytes.rfind(values) + 2] ^= 1;
  write_bytes(checkpoint_path(run.path(), 5), bytes);
  write_bytes(checkpoint_path(run.path(), 6), "not HDF5");
  write_bytes(checkpoint_path(run.path(), 7), "");
  EXPECT_EQ(newest(), whole);
  ASSERT_EQ(skipped.size(), 6U);
  const std::vector<std::string> reasons = {"is empty",  "is not an HDF5 file", "checksum",
                                            "truncated", "attribute step is 1", "no optimiser state"};
  for (std::size_t i = 0; i < reasons.size(); ++i) {
    EXPECT_NE(skipped[i].find(reasons[i]), std::string::npos) << skipped[i];
    EXPECT_NE(skipped[i].find(fmt::format("step-{:08}.h5", 7 - i)), std::string::npos) << skipped[i];
  }
}

TEST_F(Run, NewestValidOfNone) {
  EXPECT_NE(message_of<Error>([&] { newest(); }).find("has no checkpoint"), std::string::npos);
  write_bytes(checkpoint_path(run.path(), 7), "x");
  EXPECT_NE(message_of<Error>([&] { newest(); }).find("none of its checkpoints is valid"), std::string::npos);
}

}  // namespace
}  // namespace toller
