#include "checkpoint/fusion.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "error.h"
#include "fusion_fixture.h"
#include "temporary_folder.h"

namespace toller {
namespace {

const FusionFixture& fixture() {
  static const FusionFixture loaded =
      read_fusion_fixture(std::filesystem::path(TOLLER_SOURCE_DIR) / "tests/checkpoint/fixtures/fusion.json");
  return loaded;
}

template <class T>
std::vector<T> read_model(const std::filesystem::path& path) {
  const CheckpointReader reader(path);
  std::vector<T> values(static_cast<std::size_t>(reader.table().size()));
  reader.read_parameters(std::span<T>(values));
  return values;
}

/// Runs every case of the fixture with parameters of type T.
template <class T>
void compare_with_reference(double tolerance) {
  const TemporaryFolder folder;
  write_models<T>(fixture(), folder.path());
  ASSERT_GE(fixture().cases.size(), 15U);
  for (std::size_t index = 0; index < fixture().cases.size(); ++index) {
    const FusionCase& fusion = fixture().cases[index];
    const FusionSummary summary = run_case(fusion, folder.path(), folder / "out.h5");
    const std::vector<T> fused = read_model<T>(folder / "out.h5");
    ASSERT_EQ(fused.size(), fusion.expected.size());
    for (std::size_t i = 0; i < fused.size(); ++i) {
      const double scale = std::abs(fusion.expected[i]) + 1e-3;
      EXPECT_NEAR(fused[i], fusion.expected[i], tolerance * scale) << "case " << index << ", parameter " << i;
    }
    ASSERT_EQ(summary.mean_weights.size(), fusion.models.size());
    for (std::size_t k = 0; k < summary.mean_weights.size(); ++k) {
      EXPECT_NEAR(summary.mean_weights[k], fusion.mean_weights[k], 1e-12) << "case " << index;
    }
    EXPECT_EQ(summary.parameters, static_cast<std::int64_t>(fused.size()));
  }
}

TEST(Fusion, EqualsTheReferenceInFloat) {
  compare_with_reference<float>(std::numeric_limits<float>::epsilon());
}

TEST(Fusion, EqualsTheReferenceInDouble) {
  compare_with_reference<double>(1e-13);
}

/// Values that arithmetic likes to change: both zeros, very small and very large numbers. Norms of distances
/// limit the largest to the square root of what a double holds.
template <class T>
std::vector<T> awkward_values(std::size_t size) {
  using Limits = std::numeric_limits<T>;
  const T largest = sizeof(T) == 4 ? Limits::max() : T(1e150);
  const std::vector<T> pattern = {
      T(-0.0),  T(0.0),  Limits::denorm_min(), -Limits::min(), largest, T(0.1), T(-1e-9), T(3e7),
      T(1) / 3, -largest};
  std::vector<T> values(size);
  for (std::size_t i = 0; i < size; ++i)
    values[i] = pattern[i % pattern.size()] / (i % 7 == 3 ? T(1.7) : T(1));
  return values;
}

template <class T>
void fuse_with_itself() {
  const TemporaryFolder folder;
  write_models<T>(fixture(), folder.path());
  const ParameterTable table(fixture().encoder);
  CheckpointMeta meta;
  meta.encoder = fixture().encoder;
  meta.tokenizer = "pieces";
  const auto values = awkward_values<T>(static_cast<std::size_t>(table.size()));
  write_checkpoint<T>(folder / "x.h5", meta, table, values, {}, {});
  for (const FusionCase& reference : fixture().cases) {
    FusionCase fusion = reference;
    fusion.models.assign(fusion.models.size(), "x");
    run_case(fusion, folder.path(), folder / "out.h5");
    const std::vector<T> fused = read_model<T>(folder / "out.h5");
    EXPECT_EQ(std::memcmp(fused.data(), values.data(), values.size() * sizeof(T)), 0)
        << fusion_method_name(fusion.options.method) << " "
        << fusion_granularity_name(fusion.options.granularity);
  }
}

TEST(Fusion, OfAFloatCheckpointWithItselfIsThatCheckpointBitByBit) {
  fuse_with_itself<float>();
}

TEST(Fusion, OfADoubleCheckpointWithItselfIsThatCheckpointBitByBit) {
  fuse_with_itself<double>();
}

class FusionFiles : public testing::Test {
 protected:
  FusionFiles() { write_models<float>(fixture(), folder.path()); }

  /// Writes model "a" with another meta.
  void write_variant(const std::string& name, const CheckpointMeta& meta) {
    const ParameterTable table(meta.encoder);
    const std::vector<float> values(static_cast<std::size_t>(table.size()), 0.5F);
    write_checkpoint<float>(folder / name, meta, table, values, values, values);
  }
  CheckpointMeta meta() const { return CheckpointReader(folder / "a.h5").meta(); }
  std::string message(const std::vector<std::string>& names, const FusionOptions& options) {
    std::vector<std::filesystem::path> paths;
    for (const std::string& name : names) paths.push_back(folder / name);
    return message_of<Error>(
        [&] { fuse_checkpoints(paths, folder / "base.h5", options, folder / "out.h5"); });
  }

  TemporaryFolder folder;
};

TEST_F(FusionFiles, ResultSaysWhatItIs) {
  CheckpointMeta later = meta();
  later.step = 300;
  later.training = {{"lr", 0.1}};
  later.state = {{"batches", 3}};
  later.origin = {{"method", "train"}};
  write_variant("later.h5", later);
  const FusionOptions options{.method = FusionMethod::kDeltaGuided,
                              .granularity = FusionGranularity::kRow,
                              .alpha = 2,
                              .weights = {1, 3}};
  const FusionSummary summary = fuse_checkpoints({folder / "a.h5", folder / "later.h5"}, folder / "base.h5",
                                                 options, folder / "out.h5");
  EXPECT_EQ(summary.step, 300);
  const CheckpointReader fused(folder / "out.h5");
  EXPECT_FALSE(fused.has_optimizer());
  EXPECT_EQ(fused.meta().step, 300);
  EXPECT_TRUE(fused.meta().training.is_null());
  EXPECT_TRUE(fused.meta().state.is_null());
  EXPECT_EQ(fused.meta().tokenizer, "pieces");
  const nlohmann::json& origin = fused.meta().origin;
  EXPECT_EQ(origin.at("method"), "delta-guided");
  EXPECT_EQ(origin.at("granularity"), "row");
  EXPECT_EQ(origin.at("alpha"), 2.0);
  EXPECT_EQ(origin.at("base"), (folder / "base.h5").string());
  EXPECT_EQ(origin.at("sources").at(1).at("path"), (folder / "later.h5").string());
  EXPECT_EQ(origin.at("sources").at(1).at("step"), 300);
  EXPECT_EQ(origin.at("sources").at(1).at("weight"), 0.75);
  EXPECT_EQ(origin.at("sources").at(1).at("origin"), later.origin);
}

TEST_F(FusionFiles, MayReplaceOneOfItsSources) {
  const std::vector<float> before = read_model<float>(folder / "a.h5");
  fuse_checkpoints({folder / "a.h5"}, {}, {.method = FusionMethod::kSoup}, folder / "a.h5");
  EXPECT_EQ(read_model<float>(folder / "a.h5"), before);
}

TEST_F(FusionFiles, DropoutMayDifferOtherFieldsMayNot) {
  CheckpointMeta other = meta();
  other.encoder.hidden_dropout = 0.5;
  write_variant("other.h5", other);
  EXPECT_EQ(message({"a.h5", "other.h5"}, {}), "");
  other.encoder.pooling = Pooling::kCls;
  write_variant("other.h5", other);
  EXPECT_EQ(message({"a.h5", "other.h5"}, {}), "cannot fuse " + (folder / "a.h5").string() + " with " +
                                                   (folder / "other.h5").string() +
                                                   ": encoder config, field pooling: \"mean\" and \"cls\"");
  other = meta();
  other.tokenizer = "other pieces";
  write_variant("other.h5", other);
  EXPECT_NE(message({"a.h5", "other.h5"}, {}).find("their tokenizers differ"), std::string::npos);
}

TEST_F(FusionFiles, WrongUse) {
  const auto usage = [&](const std::vector<std::filesystem::path>& paths, const std::filesystem::path& base,
                         const FusionOptions& options) {
    return message_of<UsageError>([&] { fuse_checkpoints(paths, base, options, folder / "out.h5"); });
  };
  const std::vector<std::filesystem::path> two = {folder / "a.h5", folder / "b.h5"};
  EXPECT_NE(usage(two, {}, {}).find("needs a base"), std::string::npos);
  EXPECT_NE(usage({}, folder / "base.h5", {}).find("at least one checkpoint"), std::string::npos);
  EXPECT_EQ(usage(two, folder / "base.h5", {.weights = {1, 2, 3}}), "3 weights for 2 checkpoints");
  EXPECT_EQ(usage(two, folder / "base.h5", {.weights = {1, 0}}), "weight 0 must be greater than 0");
  EXPECT_EQ(usage(two, folder / "base.h5", {.alpha = -1}), "alpha is -1, must be at least 0");
  EXPECT_THROW(fusion_method_from_name("stew"), UsageError);
  EXPECT_THROW(fusion_granularity_from_name("atom"), UsageError);
  EXPECT_FALSE(std::filesystem::exists(folder / "out.h5"));
}

TEST_F(FusionFiles, DamagedSourceLeavesNoResult) {
  std::string bytes = read_bytes(folder / "b.h5");
  bytes[bytes.size() / 2] = static_cast<char>(~bytes[bytes.size() / 2]);
  for (std::size_t place = bytes.size() / 2; place < bytes.size() / 2 + 600; ++place) bytes[place] = '!';
  write_bytes(folder / "b.h5", bytes);
  EXPECT_NE(message({"a.h5", "b.h5"}, {}).find("b.h5"), std::string::npos);
  for (const std::string& entry : folder.entries())
    EXPECT_EQ(entry.find("out.h5"), std::string::npos) << entry;
}

}  // namespace
}  // namespace toller
