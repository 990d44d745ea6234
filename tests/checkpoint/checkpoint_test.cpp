#include "checkpoint/checkpoint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "error.h"
#include "temporary_folder.h"

namespace toller {
namespace {

CheckpointMeta small_meta() {
  CheckpointMeta meta;
  meta.encoder = EncoderConfig{.vocabulary_size = 7,
                               .hidden_size = 4,
                               .layers = 2,
                               .heads = 2,
                               .intermediate_size = 6,
                               .max_positions = 5,
                               .pooling = Pooling::kCls,
                               .normalize = false};
  meta.training = {{"lr", 0.25}, {"data", "store.h5"}};
  meta.state = {{"batches", 17}};
  meta.origin = {{"method", "train"}};
  meta.step = 42;
  meta.tokenizer = std::string("bytes\0of it", 11);
  return meta;
}

template <class T>
std::vector<T> ramp(std::size_t size, double first) {
  std::vector<T> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = static_cast<T>(first + std::sin(static_cast<double>(i)));
  return values;
}

template <class T>
class CheckpointOf : public testing::Test {};
using FloatTypes = testing::Types<float, double>;
TYPED_TEST_SUITE(CheckpointOf, FloatTypes);

TYPED_TEST(CheckpointOf, KeepsEverything) {
  using T = TypeParam;
  const TemporaryFolder folder;
  const CheckpointMeta meta = small_meta();
  const ParameterTable table(meta.encoder);
  const auto size = static_cast<std::size_t>(table.size());
  std::vector<T> parameters = ramp<T>(size, 0);
  parameters[3] = T(-0.0);
  parameters[4] = std::numeric_limits<T>::denorm_min();
  const std::vector<T> m = ramp<T>(size, 2), v = ramp<T>(size, 5);
  write_checkpoint<T>(folder / "x.h5", meta, table, parameters, m, v);

  const CheckpointReader reader(folder / "x.h5");
  EXPECT_EQ(to_json(reader.meta().encoder), to_json(meta.encoder));
  EXPECT_EQ(reader.meta().training, meta.training);
  EXPECT_EQ(reader.meta().state, meta.state);
  EXPECT_EQ(reader.meta().origin, meta.origin);
  EXPECT_EQ(reader.meta().step, 42);
  EXPECT_EQ(reader.meta().tokenizer, meta.tokenizer);
  EXPECT_TRUE(reader.has_optimizer());
  EXPECT_EQ(reader.type(), sizeof(T) == 4 ? ElementType::kFloat32 : ElementType::kFloat64);
  std::vector<T> found(size), found_m(size), found_v(size);
  reader.read_parameters(std::span<T>(found));
  reader.read_moments(std::span<T>(found_m), std::span<T>(found_v));
  EXPECT_EQ(found, parameters);
  EXPECT_TRUE(std::signbit(found[3]));
  EXPECT_EQ(found_m, m);
  EXPECT_EQ(found_v, v);
  std::vector<T> tensor(static_cast<std::size_t>(table.tensors()[1].size));
  reader.read_tensor(table.tensors()[1], std::span<T>(tensor));
  EXPECT_EQ(tensor[0], parameters[static_cast<std::size_t>(table.tensors()[1].offset)]);
}

/// The parts of a checkpoint, each of which a test can change before it is written.
class Parts : public testing::Test {
 protected:
  Parts() : meta(small_meta()), config({{"encoder", to_json(meta.encoder)}}) {}

  void write() {
    Hdf5Writer file(path());
    file.attribute_int("format_version", version);
    if (!kind.empty()) file.attribute_string("kind", kind);
    file.attribute_int("step", step);
    file.attribute_string("config", config_text.empty() ? config.dump() : config_text);
    file.write_string("/state/tokenizer", "pieces");
    const ParameterTable table(meta.encoder);
    for (const TensorView& tensor : table.tensors()) {
      if (tensor.name == missing) continue;
      const std::vector<std::int64_t> shape =
          tensor.name == reshaped ? std::vector<std::int64_t>{tensor.size} : tensor.shape;
      std::vector<float> values(static_cast<std::size_t>(tensor.size), 1.0F);
      if (tensor.name == infinite) values[2] = std::numeric_limits<float>::infinity();
      file.write<float>("/parameters/" + tensor.name, values, shape);
    }
    if (!extra.empty()) file.write<float>("/parameters/" + extra, std::vector<float>(1), {1});
    file.commit();
  }
  std::filesystem::path path() const { return folder / "x.h5"; }
  /// Of opening and reading what write() made, less the file's name at its beginning.
  std::string message() {
    write();
    const std::string text = message_of<Error>([&] {
      const CheckpointReader reader(path());
      std::vector<float> values(static_cast<std::size_t>(reader.table().size()));
      reader.read_parameters(std::span<float>(values));
    });
    const std::string name = path().string() + ": ";
    EXPECT_TRUE(text.empty() || text.starts_with(name)) << text;
    return text.empty() ? text : text.substr(name.size());
  }

  TemporaryFolder folder;
  CheckpointMeta meta;
  nlohmann::json config;
  std::string config_text, kind = "checkpoint", missing, reshaped, infinite, extra;
  std::int64_t version = kCheckpointFormatVersion, step = 3;
};

TEST_F(Parts, WholeIsFineAndHasNoOptimizer) {
  EXPECT_EQ(message(), "");
  const CheckpointReader reader(path());
  EXPECT_FALSE(reader.has_optimizer());
  EXPECT_TRUE(reader.meta().training.is_null());
  std::vector<float> buffer(static_cast<std::size_t>(reader.table().size()));
  EXPECT_THROW(reader.read_moments(std::span<float>(buffer), std::span<float>(buffer)), Error);
  EXPECT_THROW(reader.read_parameters(std::span<float>(buffer).first(3)), Error);
}

TEST_F(Parts, OtherKindsAndVersions) {
  version = 3;
  EXPECT_EQ(message(), "has checkpoint format 3, this version of Toller reads 1 and 2");
  version = 1;
  kind = "token_store";
  EXPECT_EQ(message(), "is a token_store, expected a checkpoint");
  kind = "";
  EXPECT_EQ(message(), "has no attribute kind: not a Toller checkpoint");
  kind = "checkpoint";
  step = -1;
  EXPECT_EQ(message(), "attribute step is -1");
}

TEST_F(Parts, ConfigsThatAreWrong) {
  config_text = "{\"encoder\": ";
  EXPECT_EQ(message(), "attribute config is not a JSON object");
  config_text = "{}";
  EXPECT_EQ(message(), "attribute config lacks the field encoder");
  config_text.clear();
  config["encoder"]["hidden_size"] = "four";
  EXPECT_NE(message().find("field hidden_size"), std::string::npos);
  config["encoder"]["hidden_size"] = 6;
  EXPECT_EQ(message(),
            "data set /parameters/embeddings.word_embeddings.weight: expected shape [7, 6], found [7, 4]");
}

TEST_F(Parts, ConfigsThatAskForMoreThanTheFileHolds) {
  config["encoder"]["layers"] = 2000000000;
  EXPECT_EQ(message(), "config says 2000000000 layers, but /parameters has 38 tensors");
  config["encoder"]["layers"] = 2;
  config["encoder"]["vocabulary_size"] = 2000000000;
  EXPECT_NE(message().find("config needs a tensor of 2000000000 x 4, more than the file"), std::string::npos);
}

TEST_F(Parts, TensorsThatAreWrong) {
  missing = "loss.log_temperature";
  EXPECT_EQ(message(), "data set /parameters/loss.log_temperature: is missing");
  missing.clear();
  extra = "encoder.layer.9.bias";
  EXPECT_EQ(message(), "data set /parameters/encoder.layer.9.bias is no tensor of this model");
  extra.clear();
  reshaped = "encoder.layer.1.output.dense.weight";
  EXPECT_EQ(message(),
            "data set /parameters/encoder.layer.1.output.dense.weight: expected shape [4, 6], found [24]");
  reshaped.clear();
  infinite = "encoder.layer.0.attention.self.key.bias";
  EXPECT_EQ(message(), "data set /parameters/encoder.layer.0.attention.self.key.bias: element 2 is inf");
}

TEST(Checkpoint, ThatIsNotFiniteIsNotWritten) {
  const TemporaryFolder folder;
  const CheckpointMeta meta = small_meta();
  const ParameterTable table(meta.encoder);
  std::vector<float> values(static_cast<std::size_t>(table.size()), 1.0F);
  write_checkpoint<float>(folder / "x.h5", meta, table, values, {}, {});
  const std::string old = read_bytes(folder / "x.h5");
  values[9] = std::nanf("");
  EXPECT_EQ(message_of<Error>([&] { write_checkpoint<float>(folder / "x.h5", meta, table, values, {}, {}); }),
            (folder / "x.h5").string() +
                ": data set /parameters/embeddings.word_embeddings.weight: element 9 is nan");
  EXPECT_EQ(read_bytes(folder / "x.h5"), old);
  EXPECT_EQ(folder.entries(), std::vector<std::string>{"x.h5"});
}

TEST(Checkpoint, BuffersOfTheWrongSizeAreRefused) {
  const TemporaryFolder folder;
  const CheckpointMeta meta = small_meta();
  const ParameterTable table(meta.encoder);
  const std::vector<float> whole(static_cast<std::size_t>(table.size())), part(3);
  EXPECT_THROW(write_checkpoint<float>(folder / "x.h5", meta, table, part, {}, {}), Error);
  EXPECT_THROW(write_checkpoint<float>(folder / "x.h5", meta, table, whole, whole, {}), Error);
  EXPECT_TRUE(folder.entries().empty());
}

}  // namespace
}  // namespace toller
