// Safetensors files: written and read back, and files that are not what they claim to be.
#include "io/safetensors.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "error.h"
#include "safetensors_bytes.h"
#include "temporary_folder.h"

namespace toller {
namespace {

template <class T>
std::vector<T> read_all(const SafetensorsReader& reader, const std::string& name) {
  std::vector<T> values(static_cast<std::size_t>(reader.info(name).elements));
  reader.read(name, 0, std::span(values));
  return values;
}

TEST(Safetensors, RoundTrip) {
  const TemporaryFolder folder;
  std::vector<float> large(700'000);
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = std::sin(static_cast<float>(i));
  {
    SafetensorsWriter writer(folder / "x.safetensors", SafetensorsType::kFloat32,
                             {{"b", {2, 3}}, {"a", {}}, {"large", {700, 1000}}});
    writer.append(std::vector<float>{1, -2, 3});
    writer.append(std::vector<float>{4, 0x1p-149F, 3.4e38F});
    writer.append(std::vector<float>{7});
    writer.append(large);
    writer.close();
  }
  const SafetensorsReader reader(folder / "x.safetensors");
  EXPECT_EQ(reader.tensors().size(), 3U);
  EXPECT_EQ(reader.info("b").shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(reader.info("b").begin % 8, 0U);
  EXPECT_TRUE(reader.info("a").shape.empty());
  EXPECT_EQ(read_all<float>(reader, "b"), (std::vector<float>{1, -2, 3, 4, 0x1p-149F, 3.4e38F}));
  EXPECT_EQ(read_all<double>(reader, "a"), std::vector<double>{7});
  EXPECT_EQ(read_all<float>(reader, "large"), large);
  std::vector<float> slice(300'000);
  reader.read("large", 399'000, std::span(slice));
  EXPECT_TRUE(std::equal(slice.begin(), slice.end(), large.begin() + 399'000));
  EXPECT_NE(message_of([&] { reader.read("large", 400'001, std::span(slice)); }).find("no elements"),
            std::string::npos);
  EXPECT_NE(message_of([&] { reader.info("c"); }).find("x.safetensors: tensor c is missing"),
            std::string::npos);
}

TEST(Safetensors, NarrowTypesRoundToNearest) {
  const TemporaryFolder folder;
  const std::vector<float> values{1, 1 + 0x1p-11F, 1 + 0x1.8p-10F, -0.1F, 0x1p-25F, 0x1.8p-25F, 65519};
  for (const auto& [type, expected] :
       {std::pair(SafetensorsType::kFloat16,
                  std::vector<float>{1, 1, 1 + 0x1p-9F, -0.0999755859375F, 0, 0x1p-24F, 65504}),
        std::pair(SafetensorsType::kBFloat16,
                  std::vector<float>{1, 1, 1, -0.10009765625F, 0x1p-25F, 0x1.8p-25F, 65536})}) {
    std::filesystem::remove(folder / "x.safetensors");
    SafetensorsWriter writer(folder / "x.safetensors", type, {{"x", {7}}});
    writer.append(values);
    writer.close();
    EXPECT_EQ(read_all<float>(SafetensorsReader(folder / "x.safetensors"), "x"), expected);
  }
}

TEST(Safetensors, WriterNamesTheTensorOfABadValue) {
  const TemporaryFolder folder;
  int files = 0;
  const auto message = [&](SafetensorsType type, float value) {
    const auto path = folder / fmt::format("{}.safetensors", ++files);
    SafetensorsWriter writer(path, type, {{"a", {1}}, {"b.weight", {4}}});
    writer.append(std::vector<float>{0});
    writer.append(std::vector<float>{1, 2});
    const std::string text = message_of([&] { writer.append(std::vector<float>{3, value}); });
    return text.substr(std::min(text.size(), path.string().size()));
  };
  const std::string element = ": tensor b.weight: element 3 is ";
  EXPECT_EQ(message(SafetensorsType::kFloat16, 65520), element + "65520, too large for F16");
  EXPECT_EQ(message(SafetensorsType::kFloat16, -70000), element + "-70000, too large for F16");
  EXPECT_EQ(message(SafetensorsType::kBFloat16, 3.4e38F), element + "3.4e+38, too large for BF16");
  EXPECT_EQ(message(SafetensorsType::kFloat32, 3.4e38F), "");
  for (const auto type : {SafetensorsType::kFloat32, SafetensorsType::kFloat16, SafetensorsType::kBFloat16}) {
    EXPECT_EQ(message(type, NAN), element + "nan");
    EXPECT_EQ(message(type, -std::numeric_limits<float>::infinity()), element + "-inf");
  }
}

TEST(Safetensors, WriterWantsAllOfEveryTensor) {
  const TemporaryFolder folder;
  SafetensorsWriter writer(folder / "x.safetensors", SafetensorsType::kFloat32, {{"a", {2}}, {"b", {1}}});
  EXPECT_NE(message_of([&] { writer.append(std::vector<float>(3)); }).find("3 values more"),
            std::string::npos);
  writer.append(std::vector<float>(2));
  EXPECT_NE(message_of([&] { writer.close(); }).find("tensor b is not complete"), std::string::npos);
  EXPECT_NE(message_of([&] {
              SafetensorsWriter other(folder / "x.safetensors", SafetensorsType::kFloat32, {});
            }).find("cannot create: File exists"),
            std::string::npos);
}

/// Every element type that is converted, and one that is only listed; not aligned, as old files are not.
TEST(Safetensors, ReadsEveryType) {
  const TemporaryFolder folder;
  const std::array<double, 2> wide{1e300, 0.1};
  const std::array<float, 1> single{0.1F};
  const std::array<std::uint16_t, 2> narrow{0x3c00, 0x3f80};
  std::string data(8, '\0');  // I64 [1]
  data.append(reinterpret_cast<const char*>(wide.data()), sizeof(wide));
  data.append(reinterpret_cast<const char*>(single.data()), sizeof(single));
  data.append(reinterpret_cast<const char*>(narrow.data()), sizeof(narrow));
  const std::string header = R"({"ids":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
                             R"("wide":{"dtype":"F64","shape":[2],"data_offsets":[8,24]},)"
                             R"("single":{"dtype":"F32","shape":[1,1],"data_offsets":[24,28]},)"
                             R"("half":{"dtype":"F16","shape":[],"data_offsets":[28,30]},)"
                             R"("brain":{"dtype":"BF16","shape":[1],"data_offsets":[30,32]},)"
                             R"("nothing":{"dtype":"F32","shape":[0,5],"data_offsets":[30,30]}})";
  for (const char* padding : {"", " ", "   "}) {
    write_bytes(folder / "x.safetensors", safetensors_bytes(header + padding, data));
    const SafetensorsReader reader(folder / "x.safetensors");
    EXPECT_EQ(read_all<double>(reader, "wide"), (std::vector<double>{1e300, 0.1}));
    EXPECT_EQ(read_all<float>(reader, "wide")[1], 0.1F);
    EXPECT_EQ(read_all<float>(reader, "single")[0], 0.1F);
    EXPECT_EQ(read_all<float>(reader, "half")[0], 1);
    EXPECT_EQ(read_all<float>(reader, "brain")[0], 1);
    EXPECT_TRUE(read_all<float>(reader, "nothing").empty());
    EXPECT_NE(message_of([&] {
                read_all<float>(reader, "ids");
              }).find("x.safetensors: tensor ids: is I64, expected F32, F16, BF16 or F64"),
              std::string::npos);
  }
}

class HostileSafetensors : public testing::Test {
 protected:
  /// What opening a file of these bytes says, without the file's name.
  std::string message(const std::string& bytes) {
    const auto path = folder_.write("x.safetensors", bytes);
    const std::string text = message_of([&] { SafetensorsReader reader(path); });
    EXPECT_TRUE(text.starts_with(path.string() + ": ")) << text;
    return text.substr(std::min(text.size(), path.string().size() + 2));
  }
  std::string header_message(const std::string& header, const std::string& data = "") {
    return message(safetensors_bytes(header, data));
  }
  /// Of a file of 8 bytes of data with this entry as its tensor "a".
  std::string entry_message(const std::string& entry) {
    const std::string text = header_message("{\"a\":" + entry + "}", std::string(8, '\0'));
    EXPECT_TRUE(text.starts_with("tensor a: ")) << text;
    return text.substr(std::min<std::size_t>(text.size(), 10));
  }

  TemporaryFolder folder_;
};

TEST_F(HostileSafetensors, Length) {
  EXPECT_EQ(message(""), "has 0 bytes, too few for a safetensors file");
  EXPECT_EQ(message("1234567"), "has 7 bytes, too few for a safetensors file");
  EXPECT_NE(
      message("12345678").find("says that its header has 4050765991979987505 bytes, but the file has 8"),
      std::string::npos);
  EXPECT_NE(
      message(std::string(8, '\xff') + "{}").find("says that its header has 18446744073709551615 bytes"),
      std::string::npos);
  const std::string sound =
      safetensors_bytes("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", "data");
  EXPECT_NE(message(sound.substr(0, 20)).find("truncated"), std::string::npos);
  EXPECT_NE(message(sound.substr(0, sound.size() - 1)).find("tensor a: its bytes [0, 4) lie beyond the 3"),
            std::string::npos);
  EXPECT_EQ(message(std::string(8, '\0')), "its header does not begin with '{'");
  const std::string large((32 << 20) + 1, ' ');
  EXPECT_EQ(header_message(large), "its header has 33554433 bytes, more than the 33554432 allowed here");
}

TEST_F(HostileSafetensors, Header) {
  EXPECT_EQ(header_message(" {}"), "its header does not begin with '{'");
  EXPECT_NE(header_message("{\"a\":").find("header: is not JSON"), std::string::npos);
  EXPECT_NE(header_message("{\"\xff\":{}}").find("header: is not JSON"), std::string::npos);
  EXPECT_NE(header_message("{} x").find("header: is not JSON"), std::string::npos);
  EXPECT_EQ(header_message(R"({"a":{},"a":{}})"), "header: the key \"a\" stands twice in one object");
  EXPECT_NE(header_message(R"({"a":{"shape":[[[1]]]}})").find("more than 3 deep"), std::string::npos);
  EXPECT_EQ(header_message(R"({"__metadata__":[]})"), "__metadata__ in the header is not an object");
  EXPECT_EQ(header_message(R"({"__metadata__":{"a":1}})"), "__metadata__ in the header: 'a' is not a text");
}

TEST_F(HostileSafetensors, Entry) {
  EXPECT_EQ(entry_message("7"), "its entry in the header is not an object");
  EXPECT_EQ(entry_message(R"({"shape":[2],"data_offsets":[0,8]})"), "has no dtype");
  EXPECT_EQ(entry_message(R"({"dtype":"F31","shape":[2],"data_offsets":[0,8]})"), "dtype 'F31' is unknown");
  EXPECT_EQ(entry_message(R"({"dtype":7,"shape":[2],"data_offsets":[0,8]})"), "has no dtype");
  EXPECT_EQ(entry_message(R"({"dtype":"F32","data_offsets":[0,8]})"), "shape is not a list");
  EXPECT_EQ(entry_message(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"),
            "shape holds -2, expected whole numbers from 0 on");
  EXPECT_EQ(entry_message(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})"),
            "shape holds 2.0, expected whole numbers from 0 on");
  EXPECT_EQ(entry_message(R"({"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8]})"),
            "shape holds 9223372036854775808, expected whole numbers from 0 on");
  EXPECT_EQ(entry_message(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]})"),
            "shape [4294967296, 4294967296] has too many elements");
  EXPECT_EQ(entry_message(R"({"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,8]})"),
            "shape [4611686018427387904] has too many elements");
  EXPECT_EQ(entry_message(R"({"dtype":"F32","shape":[2]})"), "data_offsets is not a list");
  EXPECT_EQ(entry_message(R"({"dtype":"F32","shape":[2],"data_offsets":[0]})"),
            "data_offsets [0] are not a begin and an end");
  EXPECT_EQ(entry_message(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"),
            "data_offsets [8, 0] are not a begin and an end");
  EXPECT_EQ(entry_message(R"({"dtype":"F32","shape":[3],"data_offsets":[0,12]})"),
            "its bytes [0, 12) lie beyond the 8 that the file has");
  EXPECT_EQ(entry_message(R"({"dtype":"F32","shape":[1],"data_offsets":[0,8]})"),
            "has 8 bytes, but F32 x [1] are 4");
  EXPECT_EQ(entry_message(R"({"dtype":"F16","shape":[2],"data_offsets":[0,8]})"),
            "has 8 bytes, but F16 x [2] are 4");
  EXPECT_EQ(entry_message(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"file":"y"})"),
            "unknown field 'file' in the header");
}

TEST_F(HostileSafetensors, Layout) {
  const auto two = [&](int a, int b, const std::string& data) {
    return header_message(fmt::format(R"({{"a":{{"dtype":"F32","shape":[1],"data_offsets":[{},{}]}},)"
                                      R"("b":{{"dtype":"F32","shape":[1],"data_offsets":[{},{}]}}}})",
                                      a, a + 4, b, b + 4),
                          data);
  };
  const std::string data(12, '\0');
  EXPECT_EQ(two(0, 2, data), "tensors a and b overlap at byte 2");
  EXPECT_EQ(two(0, 0, data), "tensors a and b overlap at byte 0");
  EXPECT_EQ(two(0, 8, data), "tensor b: the bytes [4, 8) before it belong to no tensor");
  EXPECT_EQ(two(8, 4, data), "tensor b: the bytes [0, 4) before it belong to no tensor");
  EXPECT_EQ(two(4, 0, data), "the last 4 bytes belong to no tensor: the file is damaged");
}

TEST_F(HostileSafetensors, NoFile) {
  const auto path = folder_ / "none.safetensors";
  EXPECT_EQ(message_of([&] { SafetensorsReader reader(path); }), path.string() + ": there is no such file");
  EXPECT_EQ(message_of([&] { SafetensorsReader reader(folder_.path()); }),
            folder_.path().string() + ": is not a regular file");
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(message_of([&] { SafetensorsReader reader(path); }), path.string() + ": is not a regular file");
}

class ShardedSafetensors : public testing::Test {
 protected:
  ShardedSafetensors() {
    write_shard("1.safetensors", {"a", "b"});
    write_shard("2.safetensors", {"c"});
  }
  void write_shard(const std::string& file, const std::vector<std::string>& names) {
    std::filesystem::remove(folder_ / file);
    std::vector<SafetensorsEntry> entries;
    for (const std::string& name : names) entries.push_back({name, {1}});
    SafetensorsWriter writer(folder_ / file, SafetensorsType::kFloat32, entries);
    for (const std::string& name : names) writer.append(std::array{static_cast<float>(name[0])});
    writer.close();
  }
  /// What opening this index says, without the folder's name.
  std::string message(const std::string& index) {
    const auto path = folder_.write("x.index.json", index);
    const std::string text = message_of([&] { SafetensorsReader reader(path); });
    return text.substr(std::min(text.size(), folder_.path().string().size() + 1));
  }

  TemporaryFolder folder_;
  const std::string sound_ =
      R"({"metadata":{"total_size":12},"weight_map":{"a":"1.safetensors","b":"1.safetensors","c":"2.safetensors"}})";
};

TEST_F(ShardedSafetensors, ReadsAllFiles) {
  const SafetensorsReader reader(folder_.write("x.index.json", sound_));
  for (const char* name : {"a", "b", "c"}) {
    EXPECT_EQ(read_all<float>(reader, name)[0], static_cast<float>(name[0]));
  }
  EXPECT_EQ(reader.files().size(), 2U);
  EXPECT_EQ(reader.label("c"), (folder_ / "2.safetensors").string() + ": tensor c");
}

TEST_F(ShardedSafetensors, BadIndex) {
  EXPECT_TRUE(message("{").starts_with("x.index.json: is not JSON"));
  EXPECT_EQ(message("[]"), "x.index.json: is not a JSON object");
  EXPECT_EQ(message("{}"), "x.index.json: has no weight_map");
  EXPECT_EQ(message(R"({"weight_map":{}})"), "x.index.json: has no weight_map");
  EXPECT_EQ(message(R"({"weight_map":{"a":"1","a":"2"}})"),
            "x.index.json: the key \"a\" stands twice in one object");
  for (const char* name :
       {R"("../1.safetensors")", R"("/etc/passwd")", R"("")", R"("..")", "7", R"("1.safetensors\u0000")"}) {
    EXPECT_EQ(message(fmt::format(R"({{"weight_map":{{"a":{}}}}})", name)),
              fmt::format("x.index.json: tensor a: {} is no name of a file in this folder", name));
  }
  EXPECT_EQ(message(R"({"weight_map":{"a":"3.safetensors"}})"), "3.safetensors: there is no such file");
  EXPECT_EQ(message(R"({"weight_map":{"a":"1.safetensors","b":"1.safetensors","d":"2.safetensors"}})"),
            "x.index.json: tensor d is not in 2.safetensors");
  EXPECT_EQ(message(R"({"weight_map":{"a":"1.safetensors","b":"2.safetensors","c":"2.safetensors"}})"),
            "x.index.json: tensor b is not in 2.safetensors");
  EXPECT_TRUE(message(R"({"weight_map":{"a":"1.safetensors"}})")
                  .starts_with("1.safetensors: tensor b: is not listed in "));
}

TEST_F(ShardedSafetensors, TheSameTensorTwice) {
  write_shard("2.safetensors", {"c", "a"});
  EXPECT_TRUE(message(sound_).starts_with("2.safetensors: tensor a is in ")) << message(sound_);
}

}  // namespace
}  // namespace toller
