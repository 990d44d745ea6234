// Checkpoints that several ranks write: whatever the ranks and the layout, the same values are read; nothing
// is left of one that failed.
#include "checkpoint/checkpoint_output.h"

#include <gtest/gtest.h>
#include <sys/mount.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint_format.h"
#include "checkpoint/run_checkpoints.h"
#include "checkpoint/written_by_ranks.h"
#include "comm/ranks_in_turn.h"
#include "error.h"
#include "file_size_limit.h"
#include "temporary_folder.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

template <class T>
void expect_holds(const fs::path& path, const SmallModel<T>& model) {
  const CheckpointReader reader(path);
  EXPECT_EQ(to_json(reader.meta().encoder), to_json(model.meta.encoder));
  EXPECT_EQ(reader.meta().training, model.meta.training);
  EXPECT_EQ(reader.meta().state, model.meta.state);
  EXPECT_EQ(reader.meta().step, model.meta.step);
  EXPECT_EQ(reader.meta().tokenizer, model.meta.tokenizer);
  ASSERT_TRUE(reader.has_optimizer());
  EXPECT_EQ(reader.type(), sizeof(T) == 4 ? ElementType::kFloat32 : ElementType::kFloat64);
  std::vector<T> parameters(model.parameters.size()), m(parameters.size()), v(parameters.size());
  reader.read_parameters(std::span<T>(parameters));
  reader.read_moments(std::span<T>(m), std::span<T>(v));
  EXPECT_EQ(parameters, model.parameters);
  EXPECT_EQ(m, model.m);
  EXPECT_EQ(v, model.v);
}

/// Every run of three rows of every tensor, as double.
template <class T>
void expect_rows(const fs::path& path, const SmallModel<T>& model) {
  const CheckpointReader reader(path);
  for (const TensorView& tensor : model.table.tensors()) {
    reader.verify_tensor(tensor);
    const std::int64_t row = tensor.size / tensor.shape.front();
    const std::int64_t rows = std::min<std::int64_t>(3, tensor.shape.front());
    for (std::int64_t first = 0; first + rows <= tensor.shape.front(); ++first) {
      std::vector<double> found(static_cast<std::size_t>(rows * row));
      reader.read_rows(tensor, first * row, std::span(found));
      const auto begin = model.parameters.begin() + tensor.offset + first * row;
      EXPECT_EQ(found, std::vector<double>(begin, begin + rows * row)) << tensor.name << ", row " << first;
    }
  }
}

struct Case {
  int ranks;
  CheckpointLayout layout;
};

class Layouts : public testing::TestWithParam<Case> {
 protected:
  template <class T>
  void check() {
    const SmallModel<T> model;
    write_by_ranks(path_, model, GetParam().ranks, GetParam().layout);
    expect_holds(path_, model);
    expect_rows(path_, model);
  }
  /// The files of the checkpoint that hold tensors.
  std::vector<fs::path> files() const {
    std::vector<fs::path> files = {path_};
    if (GetParam().layout == CheckpointLayout::kOneFile) return files;
    files.clear();
    for (int rank = 0; rank < GetParam().ranks; ++rank) {
      files.push_back(checkpoint_part_path(path_, rank, GetParam().ranks));
    }
    return files;
  }

  TemporaryFolder folder_;
  fs::path path_ = folder_ / "step-00000042.h5";
};

TEST_P(Layouts, KeepEverythingInFloat) {
  check<float>();
}

TEST_P(Layouts, KeepEverythingInDouble) {
  check<double>();
}

TEST_P(Layouts, TheSameContentGivesTheSameBytes) {
  const SmallModel<float> model;
  const auto bytes = [&] {
    write_by_ranks(path_, model, GetParam().ranks, GetParam().layout);
    std::string all = read_bytes(path_);
    for (const fs::path& file : files()) all += read_bytes(file);
    return all;
  };
  const std::string first = bytes();
  EXPECT_TRUE(bytes() == first);
}

TEST_P(Layouts, ANewCheckpointReplacesTheOldOne) {
  write_by_ranks(path_, SmallModel<float>(42, 1), GetParam().ranks, GetParam().layout);
  const SmallModel<float> newer(42, 3);
  write_by_ranks(path_, newer, GetParam().ranks, GetParam().layout);
  expect_holds(path_, newer);
}

/// Flips a bit of a value in every piece of every data set, one at a time.
TEST_P(Layouts, EveryDamagedPieceIsFound) {
  const SmallModel<double> model;
  write_by_ranks(path_, model, GetParam().ranks, GetParam().layout);
  const ParameterShards shards = model.shards(GetParam().ranks);
  std::vector<double> out(model.parameters.size()), out2(out.size());
  int pieces = 0;
  for (const fs::path& file : files()) {
    const std::string good = read_bytes(file);
    for (int rank = 0; rank < GetParam().ranks; ++rank) {
      for (const TensorPiece& piece : shards.tensor_pieces(rank)) {
        const TensorView& tensor = model.table.tensors()[piece.tensor];
        const double value = model.parameters[static_cast<std::size_t>(tensor.offset + piece.first)];
        const std::size_t place = good.find(std::string(reinterpret_cast<const char*>(&value), sizeof value));
        if (place == std::string::npos || value == 0) continue;
        ++pieces;
        std::string bad = good;
        bad[place] = static_cast<char>(bad[place] ^ 1);
        write_bytes(file, bad);
        const CheckpointReader reader(path_);
        const std::string message = message_of<Error>([&] { reader.read_parameters(std::span(out)); });
        EXPECT_TRUE(message.starts_with(file.string() + ": data set /parameters/" + tensor.name)) << message;
        EXPECT_NE(message.find("the file is damaged"), std::string::npos) << message;
        const std::int64_t row = tensor.size / tensor.shape.front();
        if (file == path_ && piece.size < tensor.size) {
          EXPECT_NE(message.find(fmt::format(": rows [{}, {}): ", piece.first / row,
                                             (piece.first + piece.size) / row)),
                    std::string::npos)
              << message;
        }
        EXPECT_EQ(message_of<Error>([&] { reader.verify_tensor(tensor); }), message);
      }
    }
    write_bytes(file, good);
  }
  EXPECT_GT(pieces, 30);
  expect_holds(path_, model);
}

TEST_P(Layouts, AValueThatIsNotFiniteIsRefusedOnAllRanks) {
  const SmallModel<float> old(42, 1);
  write_by_ranks(path_, old, GetParam().ranks, GetParam().layout);
  auto before = folder_.entries();
  for (int round = 0; round < 2; ++round) {
    SmallModel<float> model;
    const TensorView& tensor = model.table.at("encoder.layer.1.output.dense.weight");
    (round == 0 ? model.parameters : model.v)[static_cast<std::size_t>(tensor.offset + 9)] = std::nanf("");
    const std::string message =
        message_of<Error>([&] { write_by_ranks(path_, model, GetParam().ranks, GetParam().layout); });
    const std::string name = round == 0 ? "/parameters/" : "/optimizer/v/";
    EXPECT_NE(message.find("data set " + name + tensor.name + ": element 9 is nan"), std::string::npos)
        << message;
    auto entries = folder_.entries();
    std::ranges::sort(entries);
    std::ranges::sort(before);
    EXPECT_EQ(entries, before);
    expect_holds(path_, old);
  }
}

TEST_P(Layouts, AWriteThatFailsLeavesTheOldCheckpoint) {
  const SmallModel<float> old(41, 1), model;
  const fs::path previous = folder_ / "step-00000041.h5";
  write_by_ranks(previous, old, GetParam().ranks, GetParam().layout);
  const std::size_t before = folder_.entries().size();
  std::uintmax_t largest = 0;
  for (const std::string& name : folder_.entries())
    largest = std::max(largest, fs::file_size(folder_ / name));
  for (rlim_t limit = 0; limit < largest; limit += largest / 37) {
    std::string message;
    {
      const FileSizeLimit full(limit);
      message = message_of<Error>([&] { write_by_ranks(path_, model, GetParam().ranks, GetParam().layout); });
    }
    ASSERT_NE(message.find("File too large"), std::string::npos) << limit << ": " << message;
    ASSERT_NE(message.find("step-00000042"), std::string::npos) << limit << ": " << message;
    ASSERT_EQ(folder_.entries().size(), before) << limit;
  }
  expect_holds(previous, old);
}

INSTANTIATE_TEST_SUITE_P(
    Ranks, Layouts,
    testing::Values(Case{1, CheckpointLayout::kOneFile}, Case{2, CheckpointLayout::kOneFile},
                    Case{3, CheckpointLayout::kOneFile}, Case{4, CheckpointLayout::kOneFile},
                    Case{1, CheckpointLayout::kFilePerRank}, Case{2, CheckpointLayout::kFilePerRank},
                    Case{3, CheckpointLayout::kFilePerRank}, Case{4, CheckpointLayout::kFilePerRank}));

/// All in one file by HDF5 alone, data set after data set.
void write_by_hdf5(const fs::path& path, const SmallModel<float>& model) {
  Hdf5Writer file(path);
  write_meta(file, model.meta, 1);
  for (const TensorView& tensor : model.table.tensors()) {
    const auto write = [&](const std::string& name, const std::vector<float>& buffer) {
      file.write(name,
                 std::span(buffer).subspan(static_cast<std::size_t>(tensor.offset),
                                           static_cast<std::size_t>(tensor.size)),
                 tensor.shape);
    };
    write("/parameters/" + tensor.name, model.parameters);
    write("/optimizer/m/" + tensor.name, model.m);
    write("/optimizer/v/" + tensor.name, model.v);
  }
  file.commit();
}

TEST(CheckpointOutput, OneRankWritesTheFileThatHdf5AloneWrites) {
  const TemporaryFolder folder;
  const SmallModel<float> model;
  write_by_hdf5(folder / "hdf5.h5", model);
  write_by_ranks(folder / "ranks.h5", model, 1, CheckpointLayout::kOneFile);
  write_checkpoint<float>(folder / "buffers.h5", model.meta, model.table, model.parameters, model.m, model.v);
  EXPECT_TRUE(read_bytes(folder / "ranks.h5") == read_bytes(folder / "hdf5.h5"));
  EXPECT_TRUE(read_bytes(folder / "buffers.h5") == read_bytes(folder / "hdf5.h5"));
  EXPECT_EQ(Hdf5Reader(folder / "ranks.h5").attribute_int("format_version"), 1);
}

TEST(CheckpointOutput, SharesMayBeEmpty) {
  for (const CheckpointLayout layout : {CheckpointLayout::kOneFile, CheckpointLayout::kFilePerRank}) {
    const TemporaryFolder folder;
    EncoderConfig encoder = SmallModel<float>::encoder();
    encoder.layers = 1;
    encoder.hidden_size = encoder.heads = encoder.vocabulary_size = 1;
    encoder.max_positions = encoder.intermediate_size = 1;
    CheckpointMeta meta;
    meta.encoder = encoder;
    const ParameterTable table(encoder);
    const ParameterShards shards(table, {0, table.size()}, 40);
    ASSERT_EQ(std::ranges::count(shards.counts(0), 0) > 0, true);
    const std::vector<float> values(static_cast<std::size_t>(table.size()), 1.5F);
    run_ranks_in_turn(40, [&](Communicator& communicator) {
      CheckpointOutput<float> output(folder / "x.h5", meta, table, shards, layout, communicator);
      const std::span<const float> share =
          std::span(values).first(static_cast<std::size_t>(shards.elements(communicator.rank())));
      output.write(share, share, share);
      output.verify();
      output.commit();
    });
    std::vector<float> found(values.size()), m(values.size()), v(values.size());
    const CheckpointReader reader(folder / "x.h5");
    reader.read_parameters(std::span(found));
    reader.read_moments(std::span(m), std::span(v));
    EXPECT_EQ(found, values);
    EXPECT_EQ(v, values);
  }
}

TEST(CheckpointOutput, MomentsMayBeLeftOut) {
  const TemporaryFolder folder;
  const SmallModel<float> model;
  for (const CheckpointLayout layout : {CheckpointLayout::kOneFile, CheckpointLayout::kFilePerRank}) {
    run_ranks_in_turn(2, [&](Communicator& communicator) {
      const ParameterShards shards = model.shards(2);
      CheckpointOutput<float> output(folder / "x.h5", model.meta, model.table, shards, layout, communicator,
                                     false);
      output.write(model.share(shards, communicator.rank()).parameters, {}, {});
      output.commit();
    });
    const CheckpointReader reader(folder / "x.h5");
    EXPECT_FALSE(reader.has_optimizer());
    std::vector<float> found(model.parameters.size());
    reader.read_parameters(std::span(found));
    EXPECT_EQ(found, model.parameters);
  }
}

TEST(CheckpointOutput, WithoutCommitNothingIsLeft) {
  const TemporaryFolder folder;
  const SmallModel<float> model;
  for (const CheckpointLayout layout : {CheckpointLayout::kOneFile, CheckpointLayout::kFilePerRank}) {
    run_ranks_in_turn(3, [&](Communicator& communicator) {
      const ParameterShards shards = model.shards(3);
      CheckpointOutput<float> output(folder / "step-00000042.h5", model.meta, model.table, shards, layout,
                                     communicator);
      output.write(model.share(shards, communicator.rank()));
      for (const std::string& name : folder.entries()) {
        EXPECT_TRUE(name.starts_with(".step-") && name.find(".h5.tmp-") != std::string::npos) << name;
      }
      communicator.barrier();
    });
    EXPECT_TRUE(folder.entries().empty());
  }
}

TEST(CheckpointOutput, VerifyFindsWhatChangedOnTheDisk) {
  const TemporaryFolder folder;
  const SmallModel<float> model;
  const std::string message = message_of<Error>([&] {
    run_ranks_in_turn(2, [&](Communicator& communicator) {
      const ParameterShards shards = model.shards(2);
      CheckpointOutput<float> output(folder / "x.h5", model.meta, model.table, shards,
                                     CheckpointLayout::kOneFile, communicator);
      output.write(model.share(shards, communicator.rank()));
      communicator.barrier();
      if (communicator.rank() == 0) {
        const fs::path file = folder / folder.entries().front();
        std::string bytes = read_bytes(file);
        const std::string value(reinterpret_cast<const char*>(&model.m.back()), sizeof(float));
        bytes[bytes.rfind(value)] ^= 1;
        write_bytes(file, bytes);
      }
      communicator.barrier();
      try {
        output.verify();
        EXPECT_EQ(communicator.rank(), 0);
      } catch (const Error&) {
        EXPECT_EQ(communicator.rank(), 1);
      }
      output.commit();
    });
  });
  EXPECT_NE(message.find("x.h5: data set /optimizer/m/loss.log_temperature: rows [0, 1) on disk are not what "
                         "was written"),
            std::string::npos)
      << message;
  EXPECT_TRUE(folder.entries().empty());
}

TEST(CheckpointOutput, WrongUse) {
  const TemporaryFolder folder;
  const SmallModel<float> model;
  SelfCommunicator self;
  const ParameterShards shards = model.shards(1);
  const auto open = [&](const fs::path& path) {
    return std::make_unique<CheckpointOutput<float>>(path, model.meta, model.table, shards,
                                                     CheckpointLayout::kOneFile, self);
  };
  EXPECT_THROW(open(folder / "x.h5")->commit(), Error);
  EXPECT_THROW(open(folder / "x.h5")->verify(), Error);
  EXPECT_THROW(open(folder / "x.h5")->write({}), Error);
  EXPECT_NE(message_of<Error>([&] { open(folder / "none/x.h5"); }).find("does not exist"), std::string::npos);
  EXPECT_TRUE(folder.entries().empty());
  EXPECT_EQ(checkpoint_layout_from_name("--files", "per-rank"), CheckpointLayout::kFilePerRank);
  EXPECT_EQ(checkpoint_layout_from_name("--files", "one"), CheckpointLayout::kOneFile);
  EXPECT_THROW(checkpoint_layout_from_name("--files", "two"), UsageError);
}

TEST(CheckpointOutput, FullDisk) {
  for (const CheckpointLayout layout : {CheckpointLayout::kOneFile, CheckpointLayout::kFilePerRank}) {
    const TemporaryFolder folder;
    if (::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=48k") != 0) {
      GTEST_SKIP() << "no right to mount a small file system";
    }
    const std::string message =
        message_of<Error>([&] { write_by_ranks(folder / "x.h5", SmallModel<double>(), 2, layout); });
    const auto entries = folder.entries();
    ::umount(folder.path().c_str());
    EXPECT_NE(message.find("No space left on device"), std::string::npos) << message;
    EXPECT_TRUE(entries.empty());
  }
}

/// A checkpoint of four parts, which a test damages.
class Manifest : public testing::Test {
 protected:
  Manifest() { write_by_ranks(path_, model_, 4, CheckpointLayout::kFilePerRank); }

  fs::path part(int rank) const { return checkpoint_part_path(path_, rank, 4); }
  std::string message() const {
    return message_of<Error>([&] {
      const CheckpointReader reader(path_);
      std::vector<float> out(model_.parameters.size()), m(out.size());
      reader.read_parameters(std::span(out));
      reader.read_moments(std::span(out), std::span(m));
    });
  }
  void expect_message(const fs::path& file, const std::string& text) const {
    const std::string found = message();
    EXPECT_TRUE(found.starts_with(file.string() + ": ")) << found;
    EXPECT_NE(found.find(text), std::string::npos) << found;
  }
  /// Rewrites the manifest with another list of parts.
  void list(const std::string& parts) const {
    std::int64_t id = 0;
    {
      const Hdf5Reader file(path_);
      id = file.attribute_int(kIdAttribute);
    }
    Hdf5Writer file(path_);
    write_meta(file, model_.meta, kShardedFormatVersion);
    file.attribute_string(kPartsAttribute, parts);
    file.attribute_int(kIdAttribute, id);
    file.commit();
  }
  std::string entry(const fs::path& file) const {
    return fmt::format(R"({{"file": "{}", "bytes": {}}})", file.filename().string(), fs::file_size(file));
  }

  SmallModel<float> model_;
  TemporaryFolder folder_;
  fs::path path_ = folder_ / "step-00000042.h5";
};

TEST_F(Manifest, MissingPart) {
  fs::remove(part(2));
  expect_message(part(2), "No such file or directory; it is a part of " + path_.string());
}

TEST_F(Manifest, TruncatedPart) {
  fs::resize_file(part(1), fs::file_size(part(1)) - 1);
  expect_message(part(1), "it is damaged, or a part of another checkpoint");
}

TEST_F(Manifest, PartOfAnotherCheckpoint) {
  const TemporaryFolder other;
  write_by_ranks(other / "step-00000042.h5", SmallModel<float>(42, 7), 4, CheckpointLayout::kFilePerRank);
  const std::string good = read_bytes(part(3));
  fs::copy_file(checkpoint_part_path(other / "step-00000042.h5", 3, 4), part(3),
                fs::copy_options::overwrite_existing);
  expect_message(part(3), "is a part of another checkpoint: checkpoint_id is");
  write_by_ranks(other / "step-00000043.h5", SmallModel<float>(43), 4, CheckpointLayout::kFilePerRank);
  fs::copy_file(checkpoint_part_path(other / "step-00000043.h5", 3, 4), part(3),
                fs::copy_options::overwrite_existing);
  expect_message(part(3), "is a part of another checkpoint: step is 43");
  write_bytes(part(3), good);
  EXPECT_EQ(message(), "");
}

TEST_F(Manifest, PartsThatOverlapOrAreNotListed) {
  list(fmt::format("[{}, {}, {}]", entry(part(0)), entry(part(1)), entry(part(3))));
  expect_message(part(3), "begins at row");
  list(fmt::format("[{}, {}, {}]", entry(part(0)), entry(part(1)), entry(part(2))));
  expect_message(path_, "data set /parameters/");
  list(fmt::format("[{}, {}, {}, {}, {}]", entry(part(0)), entry(part(1)), entry(part(2)), entry(part(1)),
                   entry(part(3))));
  expect_message(part(1), "begins at row");
}

TEST_F(Manifest, ListsThatAreWrong) {
  for (const std::string parts : {"", "[", "{}", "[]", "7"}) {
    list(parts);
    expect_message(path_, "attribute parts is not a list in JSON");
  }
  for (const std::string parts :
       {"[1]", "[[]]", R"([{"file": "x"}])", R"([{"file": 1, "bytes": 2}])",
        R"([{"file": "x", "bytes": -1}])", R"([{"file": "x", "bytes": 1.5}])", R"([{"bytes": 1}])"}) {
    list(parts);
    expect_message(path_, "attribute parts: expected objects");
  }
  for (const std::string name : {"", ".", "..", "../x.h5", "/etc/passwd", "a/b", "a\\u0000b"}) {
    list(fmt::format(R"([{{"file": "{}", "bytes": 1}}])", name));
    expect_message(path_, "is no name of a file in this folder");
  }
  list(R"([{"file": "step-00000042.h5", "bytes": 18446744073709551615}])");
  expect_message(path_, "a part of another checkpoint");
  list(fmt::format("[{}]", entry(path_)));
  EXPECT_NE(message(), "");
}

TEST_F(Manifest, IsNoPart) {
  const std::string found = message_of<Error>([&] { CheckpointReader{part(0)}; });
  EXPECT_EQ(found, part(0).string() + ": is a checkpoint_part, expected a checkpoint");
}

TEST_F(Manifest, GoesBeforeItsParts) {
  write_by_ranks(folder_ / "step-00000043.h5", SmallModel<float>(43), 2, CheckpointLayout::kFilePerRank);
  write_by_ranks(folder_ / "step-00000044.h5", SmallModel<float>(44), 2, CheckpointLayout::kOneFile);
  // What killed runs left.
  write_bytes(folder_ / "step-00000050.rank-00001-of-00002.h5", "x");
  write_bytes(folder_ / ".step-00000050.rank-00000-of-00002.h5.tmp-7", "x");
  std::vector<std::string> skipped;
  EXPECT_EQ(list_checkpoints(folder_.path()).size(), 3U);
  EXPECT_EQ(newest_valid_checkpoint(folder_.path(), skipped), folder_ / "step-00000044.h5");
  remove_old_checkpoints(folder_.path(), 2);
  auto entries = folder_.entries();
  std::ranges::sort(entries);
  EXPECT_EQ(entries, (std::vector<std::string>{"step-00000043.h5", "step-00000043.rank-00000-of-00002.h5",
                                               "step-00000043.rank-00001-of-00002.h5", "step-00000044.h5"}));
  fs::remove(folder_ / "step-00000043.rank-00001-of-00002.h5");
  fs::remove(folder_ / "step-00000044.h5");
  EXPECT_THROW(newest_valid_checkpoint(folder_.path(), skipped), Error);
  EXPECT_NE(skipped.front().find("rank-00001-of-00002.h5"), std::string::npos);
}

}  // namespace
}  // namespace toller
