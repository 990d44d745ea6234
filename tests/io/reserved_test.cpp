// Data sets whose values come past HDF5, with a checksum for each of several runs of rows.
#include <gtest/gtest.h>
#include <hdf5.h>

#include <fcntl.h>

#include <numeric>

#include "error.h"
#include "io/checksum.h"
#include "io/hdf5_file.h"
#include "io/raw_file.h"
#include "temporary_folder.h"

namespace toller {
namespace {

namespace fs = std::filesystem;
using Rows = std::vector<std::int64_t>;

constexpr const char* kName = "/group/rows";

/// A data set [200000, 3], more than is read at once.
class Reserved : public testing::Test {
 protected:
  Reserved() : values_(600000) { std::iota(values_.begin(), values_.end(), 0.5F); }

  std::vector<std::uint64_t> checksums(const Rows& rows) const {
    std::vector<std::uint64_t> sums;
    for (std::size_t run = 0; run + 1 < rows.size(); ++run) {
      sums.push_back(checksum_of(std::as_bytes(
          std::span(values_).subspan(static_cast<std::size_t>(3 * rows[run]),
                                     static_cast<std::size_t>(3 * (rows[run + 1] - rows[run]))))));
    }
    return sums;
  }
  void write(const Rows& rows) {
    Hdf5Writer writer(path_);
    const auto place = writer.reserve(kName, ElementType::kFloat32, {200000, 3}, rows);
    EXPECT_EQ(RawFile(writer.temporary(), O_RDWR)
                  .write(std::as_bytes(std::span(values_)), static_cast<std::uint64_t>(place)),
              0);
    writer.write<float>("/after", std::span(values_).first(9), {9});
    writer.set_checksums(kName, checksums(rows.empty() ? Rows{0, 200000} : rows));
    writer.commit();
  }
  /// Changes the file by plain HDF5 calls.
  template <class Change>
  void change(const Change& change) const {
    const hid_t file = H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    ASSERT_GE(file, 0);
    const hid_t dataset = H5Dopen2(file, kName, H5P_DEFAULT);
    change(dataset);
    H5Dclose(dataset);
    H5Fclose(file);
  }
  /// Replaces an attribute of the data set.
  template <class T>
  void set_attribute(const char* name, hid_t type, const std::vector<T>& values) const {
    change([&](hid_t dataset) {
      const auto count = static_cast<hsize_t>(values.size());
      const hid_t space = H5Screate_simple(1, &count, nullptr);
      H5Adelete(dataset, name);
      const hid_t attribute = H5Acreate2(dataset, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
      ASSERT_GE(attribute, 0);
      H5Awrite(attribute, type, values.data());
      H5Aclose(attribute);
      H5Sclose(space);
    });
  }
  /// What all ways to read say, which must be the same.
  std::string message() const {
    const Hdf5Reader reader(path_);
    const std::string text = message_of<Error>([&] { reader.read<float>(kName); });
    EXPECT_EQ(message_of<Error>([&] {
                std::vector<double> out(values_.size());
                reader.read_into(kName, std::span(out));
              }),
              text);
    EXPECT_EQ(message_of<Error>([&] { reader.verify(kName); }), text);
    EXPECT_EQ(message_of<Error>(
                  [&] { reader.read_in_pieces<float>(kName, [](std::span<const float>, std::int64_t) {}); }),
              text);
    return text;
  }
  std::string label() const { return path_.string() + ": data set " + kName + ": "; }

  std::vector<float> values_;
  TemporaryFolder folder_;
  fs::path path_ = folder_ / "a.h5";
};

TEST_F(Reserved, ReadsAsItWasWritten) {
  for (const Rows& rows : {Rows{}, Rows{0, 200000}, Rows{0, 1, 200000}, Rows{0, 7, 90000, 199999, 200000}}) {
    write(rows);
    const Hdf5Reader reader(path_);
    EXPECT_EQ(reader.read<float>(kName, {200000, 3}), values_);
    EXPECT_EQ(reader.read<float>("/after"), std::vector<float>(values_.begin(), values_.begin() + 9));
    EXPECT_EQ(message(), "");
  }
}

TEST_F(Reserved, OneChecksumGivesTheFileOfWrite) {
  write({});
  const std::string reserved = read_bytes(path_);
  Hdf5Writer writer(path_);
  writer.write<float>(kName, values_, {200000, 3});
  writer.write<float>("/after", std::span(values_).first(9), {9});
  writer.commit();
  EXPECT_TRUE(read_bytes(path_) == reserved);
}

TEST_F(Reserved, MessagesNameTheDamagedRows) {
  write({0, 7, 90000, 199999, 200000});
  const std::string good = read_bytes(path_);
  const auto damaged_at = [&](std::size_t row) {
    std::string bytes = good;
    const std::string value(reinterpret_cast<const char*>(&values_[3 * row + 1]), 3 * sizeof(float));
    bytes[bytes.find(value) + 1] ^= 1;
    write_bytes(path_, bytes);
    return message();
  };
  EXPECT_TRUE(damaged_at(3).starts_with(label() + "rows [0, 7): checksum "));
  EXPECT_TRUE(damaged_at(7).starts_with(label() + "rows [7, 90000): checksum "));
  EXPECT_TRUE(damaged_at(89999).starts_with(label() + "rows [7, 90000): checksum "));
  EXPECT_TRUE(damaged_at(90000).starts_with(label() + "rows [90000, 199999): checksum "));
}

TEST_F(Reserved, HostileAttributes) {
  const auto expect = [&](const std::string& text) { EXPECT_EQ(message(), label() + text); };
  const std::string no_bounds = "attribute xxh3_64_rows does not divide 200000 rows into 3";
  const Rows rows = {0, 7, 90000, 200000};
  write(rows);
  for (const Rows& wrong : {Rows{0, 7, 7, 200000}, Rows{0, 90000, 7, 200000}, Rows{1, 7, 90000, 200000},
                            Rows{0, 7, 90000, 200001}, Rows{0, 7, 200000}, Rows{0, 7, 8, 9, 200000},
                            Rows{INT64_MIN, 7, INT64_MAX, 200000}, Rows{0}}) {
    set_attribute("xxh3_64_rows", H5T_STD_I64LE, wrong);
    expect(no_bounds);
  }
  set_attribute("xxh3_64_rows", H5T_STD_I32LE, std::vector<std::int32_t>{0, 7, 90000, 200000});
  expect("attribute xxh3_64_rows is not 1 to 200001 readable int64");
  change([](hid_t dataset) { H5Adelete(dataset, "xxh3_64_rows"); });
  expect("attribute xxh3_64_rows is missing or cannot be opened");
  write(rows);
  set_attribute("xxh3_64", H5T_STD_U64LE, std::vector<std::uint64_t>(2));
  expect("attribute xxh3_64_rows does not divide 200000 rows into 2");
  set_attribute("xxh3_64", H5T_STD_I64LE, std::vector<std::int64_t>(3));
  expect("attribute xxh3_64 is not 1 to 200000 readable uint64");
  change([](hid_t dataset) { H5Adelete(dataset, "xxh3_64"); });
  expect("has no checksum (attribute xxh3_64): not written by Toller");
}

TEST_F(Reserved, MoreChecksumsThanRows) {
  Hdf5Writer writer(path_);
  writer.write<float>(kName, std::span(values_).first(6), {2, 3});
  writer.commit();
  set_attribute("xxh3_64", H5T_STD_U64LE, std::vector<std::uint64_t>(3));
  const Hdf5Reader reader(path_);
  EXPECT_EQ(message_of<Error>([&] { reader.read<float>(kName); }),
            label() + "attribute xxh3_64 is not 1 to 2 readable uint64");
}

TEST_F(Reserved, AttributesOfDataSets) {
  Hdf5Writer writer(path_);
  writer.write<float>(kName, std::span(values_).first(6), {2, 3});
  writer.dataset_attribute_int(kName, "first_row", 41);
  writer.commit();
  const Hdf5Reader reader(path_);
  EXPECT_EQ(reader.dataset_attribute_int(kName, "first_row"), 41);
  EXPECT_EQ(message_of<Error>([&] { reader.dataset_attribute_int(kName, "other"); }),
            label() + "attribute other is missing");
}

TEST_F(Reserved, WrongUse) {
  {
    Hdf5Writer writer(path_);
    for (const Rows& rows : {Rows{0}, Rows{0, 3}, Rows{1, 2}, Rows{0, 1, 1, 2}, Rows{0, 2, 1, 2}}) {
      EXPECT_NE(message_of<Error>([&] {
                  writer.reserve("/x", ElementType::kFloat32, {2, 3}, rows);
                }).find("cannot reserve shape [2, 3]"),
                std::string::npos);
    }
    EXPECT_THROW(writer.reserve("/x", ElementType::kFloat32, {}), Error);
    EXPECT_THROW(writer.reserve("/x", ElementType::kFloat32, {0, 3}), Error);
    EXPECT_THROW(writer.reserve("/x", ElementType::kOther, {2, 3}), Error);
    EXPECT_THROW(writer.set_checksums("/x", {1}), Error);
    writer.reserve("/x", ElementType::kFloat32, {2, 3}, {0, 1, 2});
    EXPECT_THROW(writer.set_checksums("/x", {1}), Error);
    EXPECT_EQ(message_of<Error>([&] { writer.commit(); }),
              path_.string() + ": data set /x: its checksums are missing");
    writer.set_checksums("/x", {1, 2});
    EXPECT_THROW(writer.set_checksums("/x", {1, 2}), Error);
  }
  EXPECT_TRUE(folder_.entries().empty());
}

}  // namespace
}  // namespace toller
