// Damaged files: whatever byte is wrong or missing, a read gives the right values or an Error.
#include <gtest/gtest.h>

#include <numeric>

#include "error.h"
#include "io/hdf5_file.h"
#include "temporary_folder.h"

namespace toller {
namespace {

struct Content {
  std::vector<float> weights;
  std::vector<std::string> names;
  std::string text;
  std::string config;
  std::int64_t step = 0;
  bool operator==(const Content&) const = default;
};

void write_content(const std::filesystem::path& path, const Content& content) {
  Hdf5Writer writer(path);
  for (const std::string& name : content.names) {
    writer.write<float>("/parameters/" + name, content.weights,
                        {static_cast<std::int64_t>(content.weights.size())});
  }
  writer.write_string("/text", content.text, true);
  writer.attribute_int("step", content.step);
  writer.attribute_string("config", content.config);
  writer.commit();
}

Content read_content(const std::filesystem::path& path) {
  const Hdf5Reader reader(path);
  Content content;
  content.names = reader.list("/parameters");
  for (const std::string& name : content.names) {
    content.weights = reader.read<float>("/parameters/" + name);
  }
  content.text = reader.read_string("/text");
  content.config = reader.attribute_string("config");
  content.step = reader.attribute_int("step");
  return content;
}

/// Few and many members take different forms in the file, and so do short and long attributes.
Content make_content(int tensors, std::size_t config_size) {
  Content content{std::vector<float>(20), {}, std::string(300, 'y'), std::string(config_size, 'x'), 7};
  std::iota(content.weights.begin(), content.weights.end(), 1.0F);
  for (int tensor = 0; tensor < tensors; ++tensor) {
    content.names.push_back(fmt::format("t{}", 10 + tensor));
  }
  return content;
}

/// Changes one byte in place.
void flip_byte(const std::filesystem::path& path, std::size_t place) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(place));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(place));
  file.put(static_cast<char>(byte ^ 0x41));
}

/// Reads a file with one byte changed, each `stride`th byte in turn.
void flip_bytes(const Content& content, std::size_t stride) {
  const TemporaryFolder folder;
  const auto path = folder / "damaged.h5";
  write_content(path, content);
  ASSERT_EQ(read_content(path), content);
  const auto size = static_cast<std::size_t>(std::filesystem::file_size(path));
  std::size_t refused = 0;
  for (std::size_t place = 0; place < size; place += stride) {
    flip_byte(path, place);
    try {
      EXPECT_EQ(read_content(path), content) << "byte " << place;
    } catch (const Error& error) {
      ++refused;
      EXPECT_NE(std::string(error.what()).find("damaged.h5"), std::string::npos) << error.what();
    }
    flip_byte(path, place);
  }
  EXPECT_GT(refused, 0U);
  EXPECT_EQ(read_content(path), content);
}

TEST(Damage, AnyWrongByteIsSeenInASmallFile) {
  flip_bytes(make_content(3, 50), 1);
}

TEST(Damage, AnyWrongByteIsSeenAmongManyTensors) {
  flip_bytes(make_content(40, 50), 7);
}

TEST(Damage, AnyWrongByteIsSeenInALongAttribute) {
  flip_bytes(make_content(1, 70000), 41);
}

TEST(Damage, ChecksumMessageNamesTheDataSet) {
  const TemporaryFolder folder;
  const Content content = make_content(2, 10);
  write_content(folder / "a.h5", content);
  std::string bytes = read_bytes(folder / "a.h5");
  const std::string stored(reinterpret_cast<const char*>(content.weights.data()), 80);
  const std::size_t place = bytes.rfind(stored);
  ASSERT_NE(place, std::string::npos);
  bytes[place + 5] = static_cast<char>(bytes[place + 5] + 1);
  write_bytes(folder / "a.h5", bytes);
  const std::string message = message_of<Error>([&] { read_content(folder / "a.h5"); });
  EXPECT_NE(message.find("a.h5: data set /parameters/t11: checksum"), std::string::npos) << message;
}

TEST(Damage, EveryTruncationIsSeen) {
  const TemporaryFolder folder;
  const auto path = folder / "short.h5";
  write_content(path, make_content(3, 50));
  for (std::uintmax_t size = std::filesystem::file_size(path); size-- > 0;) {
    std::filesystem::resize_file(path, size);
    EXPECT_THROW(read_content(path), Error) << size << " bytes";
  }
}

}  // namespace
}  // namespace toller
