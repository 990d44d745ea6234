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
void compare_with_reference(double tolerance, std::int64_t block_elements = 0) {
  const TemporaryFolder folder;
  write_models<T>(fixture(), folder.path());
  ASSERT_GE(fixture().cases.size(), 25U);
  for (std::size_t index = 0; index < fixture().cases.size(); ++index) {
    FusionCase fusion = fixture().cases[index];
    fusion.options.block_elements = block_elements;
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

TEST(Fusion, EqualsTheReferenceInBlocksOfOneRow) {
  compare_with_reference<double>(1e-13, 1);
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

/// Whether the method is a weighted mean, in which equal checkpoints are left as they are.
bool keeps_equal_checkpoints(const FusionOptions& options) {
  const bool changes = options.method == FusionMethod::kTies || options.method == FusionMethod::kDare;
  return !changes && options.scale == 1;
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
    if (!keeps_equal_checkpoints(reference.options)) continue;
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
  /// Model "a" with `prefix` before all names, and perhaps another tensor of one value.
  void write_renamed(const std::string& name, const std::string& prefix, const std::string& another = "") {
    const Hdf5Reader model(folder / "a.h5");
    Hdf5Writer file(folder / name);
    file.attribute_int("format_version", kCheckpointFormatVersion);
    file.attribute_string("kind", "checkpoint");
    file.attribute_int("step", 0);
    file.attribute_string("config", model.attribute_string("config"));
    file.write_string("/state/tokenizer", model.read_string("/state/tokenizer"));
    const ParameterTable table(fixture().encoder);
    for (const TensorView& tensor : table.tensors()) {
      const std::vector<float> values = model.read<float>("/parameters/" + tensor.name);
      file.write<float>("/parameters/" + prefix + tensor.name, values, tensor.shape);
    }
    const std::vector<float> one = {1};
    if (!another.empty()) file.write<float>("/parameters/" + another, one, {1});
    file.commit();
  }
  CheckpointMeta meta() const { return CheckpointReader(folder / "a.h5").meta(); }
  std::string message(const std::vector<std::string>& names, const FusionOptions& options) {
    std::vector<std::filesystem::path> paths;
    for (const std::string& name : names) paths.push_back(folder / name);
    return message_of<Error>(
        [&] { fuse_checkpoints(paths, folder / "base.h5", options, folder / "out.h5", alone); });
  }

  TemporaryFolder folder;
  SelfCommunicator alone;
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
                                                 options, folder / "out.h5", alone);
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
  fuse_checkpoints({folder / "a.h5"}, {}, {.method = FusionMethod::kSoup}, folder / "a.h5", alone);
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

TEST_F(FusionFiles, FloatAndDoubleGiveDouble) {
  const TemporaryFolder wide;
  write_models<double>(fixture(), wide.path());
  fuse_checkpoints({folder / "a.h5", wide / "b.h5"}, {}, {.method = FusionMethod::kSoup}, folder / "out.h5",
                   alone);
  const CheckpointReader fused(folder / "out.h5");
  EXPECT_EQ(fused.type(), ElementType::kFloat64);
  const std::vector<double> a = read_model<double>(folder / "a.h5"), b = read_model<double>(wide / "b.h5");
  const std::vector<double> values = read_model<double>(folder / "out.h5");
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_DOUBLE_EQ(values[i], a[i] + 0.5 * (b[i] - a[i]));
}

TEST_F(FusionFiles, RenamesTensors) {
  write_renamed("bert.h5", "bert.");
  EXPECT_NE(
      message({"a.h5", "bert.h5"}, {}).find("bert.embeddings.LayerNorm.bias is no tensor of this model"),
      std::string::npos)
      << message({"a.h5", "bert.h5"}, {});
  FusionOptions options{.method = FusionMethod::kSoup, .renames = {{"bert.*", "*"}}};
  EXPECT_EQ(message({"b.h5", "bert.h5"}, options), "");
  const std::vector<float> fused = read_model<float>(folder / "out.h5");
  EXPECT_EQ(message({"b.h5", "a.h5"}, {.method = FusionMethod::kSoup}), "");
  EXPECT_EQ(fused, read_model<float>(folder / "out.h5"));
  options.renames.push_back({"loss.temperature", "loss.log_temperature"});
  EXPECT_EQ(
      message({"b.h5", "bert.h5"}, options),
      "--map loss.temperature=loss.log_temperature: no checkpoint has such a tensor beside those of the "
      "model");
  options.renames = {{"bert.*", "*"}, {"nothing", "loss.log_temperature"}};
  write_renamed("both.h5", "bert.", "nothing");
  EXPECT_NE(message({"b.h5", "both.h5"}, options).find("cannot both be tensor loss.log_temperature"),
            std::string::npos)
      << message({"b.h5", "both.h5"}, options);
}

TEST_F(FusionFiles, WrongUse) {
  const auto usage = [&](const std::vector<std::filesystem::path>& paths, const std::filesystem::path& base,
                         const FusionOptions& options) {
    return message_of<UsageError>([&] { fuse_checkpoints(paths, base, options, folder / "out.h5", alone); });
  };
  const std::vector<std::filesystem::path> two = {folder / "a.h5", folder / "b.h5"};
  EXPECT_NE(usage(two, {}, {}).find("needs a base"), std::string::npos);
  EXPECT_NE(usage({}, folder / "base.h5", {}).find("at least one checkpoint"), std::string::npos);
  const auto refused = [&](const FusionOptions& options) { return usage(two, folder / "base.h5", options); };
  EXPECT_EQ(refused({.weights = {1, 2, 3}}), "--weights has 3 weights for 2 checkpoints");
  EXPECT_EQ(refused({.weights = {1, 0}}), "--weights is 0, must be greater than 0");
  EXPECT_EQ(refused({.alpha = -1}), "--alpha is -1, must be at least 0");
  EXPECT_EQ(refused({.scale = std::numeric_limits<double>::infinity()}), "--lambda is inf, must be finite");
  EXPECT_EQ(refused({.density = 0}), "--density is 0, must be above 0 and at most 1");
  EXPECT_EQ(refused({.drop = 1}), "--drop is 1, must be at least 0 and below 1");
  EXPECT_EQ(refused({.fraction = 1.5}), "--t is 1.5, must be between 0 and 1");
  const FusionOptions slerp{.method = FusionMethod::kSlerp};
  EXPECT_EQ(usage({folder / "a.h5"}, {}, slerp), "--method slerp is between two checkpoints, not 1");
  EXPECT_EQ(refused({.method = FusionMethod::kSlerp, .weights = {1, 1}}),
            "--weights has no meaning with --method slerp");
  for (const auto method : {FusionMethod::kTies, FusionMethod::kDare, FusionMethod::kTaskArithmetic}) {
    EXPECT_NE(usage(two, {}, {.method = method}).find("needs a base"), std::string::npos);
  }
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
