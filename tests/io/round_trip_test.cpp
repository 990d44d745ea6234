#include <gtest/gtest.h>
#include <hdf5.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "error.h"
#include "io/hdf5_file.h"
#include "temporary_folder.h"

namespace toller {
namespace {

template <class T>
std::vector<T> extreme_values() {
  using Limits = std::numeric_limits<T>;
  return {T{0}, T{1}, Limits::lowest(), Limits::max(), Limits::min(), T{42}};
}

template <class T>
class RoundTrip : public testing::Test {};
using ElementTypes = testing::Types<float, double, std::int32_t, std::int64_t, std::uint8_t>;
TYPED_TEST_SUITE(RoundTrip, ElementTypes);

TYPED_TEST(RoundTrip, KeepsEveryBitPlainAndCompressed) {
  const TemporaryFolder folder;
  const auto values = extreme_values<TypeParam>();
  std::vector<TypeParam> many(700001);
  std::iota(many.begin(), many.end(), TypeParam{3});
  Hdf5Writer writer(folder / "a.h5");
  writer.write<TypeParam>("/group/inner/plain", values, {2, 3});
  writer.write<TypeParam>("/group/packed", values, {6}, true);
  writer.write<TypeParam>("many", many, {static_cast<std::int64_t>(many.size())}, true);
  writer.write<TypeParam>("rows", many, {static_cast<std::int64_t>(many.size()), 1}, true);
  writer.commit();

  const Hdf5Reader reader(folder / "a.h5");
  EXPECT_EQ(reader.read<TypeParam>("/group/inner/plain", {2, 3}), values);
  EXPECT_EQ(reader.read<TypeParam>("group/packed"), values);
  EXPECT_EQ(reader.read<TypeParam>("/many"), many);
  EXPECT_EQ(reader.read<TypeParam>("/rows", {700001, 1}), many);
  std::vector<TypeParam> slice(3);
  reader.read_slice<TypeParam>("/group/packed", 2, slice);
  EXPECT_EQ(slice, std::vector<TypeParam>(values.begin() + 2, values.begin() + 5));
  const DatasetInfo info = reader.info("/group/inner/plain");
  EXPECT_EQ(info.shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(info.elements, 6);
  EXPECT_TRUE(info.has_checksum);
}

template <class Action>
std::string message(Action action) {
  return message_of<Error>(action);
}

TEST(Hdf5File, RowsInPieces) {
  const TemporaryFolder folder;
  std::vector<float> values(3 * 200000);  // more than one piece to read
  std::iota(values.begin(), values.end(), 0.5F);
  const std::span<const float> all(values);
  Hdf5Writer writer(folder / "a.h5");
  writer.begin("/group/rows", ElementType::kFloat32, {200000, 3});
  writer.append(all.first(3));
  writer.append(all.subspan(3, 0));
  writer.append(all.subspan(3));
  writer.begin("/last", ElementType::kFloat32, {2});
  writer.append(all.first(2));
  writer.commit();

  const Hdf5Reader reader(folder / "a.h5");
  EXPECT_EQ(reader.read<float>("/group/rows", {200000, 3}), values);
  std::vector<double> slice(6);
  reader.read_slice<double>("/group/rows", 9, slice);
  EXPECT_EQ(slice, std::vector<double>(values.begin() + 9, values.begin() + 15));
  std::vector<float> pieces;
  reader.read_in_pieces<float>("/group/rows", [&](std::span<const float> piece, std::int64_t first) {
    EXPECT_EQ(first, static_cast<std::int64_t>(pieces.size()));
    pieces.insert(pieces.end(), piece.begin(), piece.end());
  });
  EXPECT_EQ(pieces, values);
  const std::string label = (folder / "a.h5").string() + ": data set /group/rows: ";
  EXPECT_EQ(message([&] { reader.read_slice<double>("/group/rows", 1, slice); }),
            label + "elements [1, 1 + 6) are no whole rows of shape [200000, 3]");
  EXPECT_EQ(message([&] { reader.read_in_pieces<double>("/group/rows", {}); }),
            label + "expected float64, found float32");
}

TEST(Hdf5File, CompressedTextInPieces) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; std::ssize(text) < 2 * kCompressedBlock + 5; ++i) text += std::to_string(i * 7919) + ' ';
  const std::span bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  Hdf5Writer pieces(folder / "pieces.h5"), whole(folder / "whole.h5");
  pieces.begin("/text", ElementType::kUint8, {std::ssize(text)}, true);
  pieces.append(bytes.first(kCompressedBlock));
  pieces.append(bytes.subspan(kCompressedBlock));
  pieces.commit();
  whole.write_string("/text", text, true);
  whole.commit();
  EXPECT_TRUE(Hdf5Reader(folder / "pieces.h5").read_string("/text") == text);
  EXPECT_TRUE(folder.read("pieces.h5") == folder.read("whole.h5"));
  EXPECT_LT(std::filesystem::file_size(folder / "pieces.h5"), text.size());
}

TEST(Hdf5File, ADataSetInPiecesMustBeWhole) {
  const TemporaryFolder folder;
  const std::vector<float> row = {1, 2, 3};
  {
    Hdf5Writer writer(folder / "a.h5");
    EXPECT_NE(message([&] { writer.append<float>(row); }).find("without begin()"), std::string::npos);
    EXPECT_NE(message([&] { writer.begin("/none", ElementType::kFloat32, {0, 3}); }), "");
    writer.begin("/rows", ElementType::kFloat32, {2, 3});
    writer.append<float>(row);
    const std::string unfinished =
        (folder / "a.h5").string() + ": data set /rows: only 3 of 6 values were written";
    EXPECT_EQ(message([&] { writer.write<float>("/other", row, {3}); }), unfinished);
    EXPECT_EQ(message([&] { writer.commit(); }), unfinished);
    EXPECT_NE(message([&] { writer.append<float>(std::span(row).first(2)); }).find("do not fit"),
              std::string::npos);
    EXPECT_NE(message([&] { writer.append<double>(std::vector<double>(3)); }).find("do not fit"),
              std::string::npos);
  }
  EXPECT_TRUE(folder.entries().empty());
}

TEST(Hdf5File, FloatAndDoubleConvertIntoEachOther) {
  const TemporaryFolder folder;
  const std::vector<float> single = {0.1F, -3.5F};
  const std::vector<double> twice = {0.1, 1e-300};
  Hdf5Writer writer(folder / "a.h5");
  writer.write<float>("single", single, {2});
  writer.write<double>("double", twice, {2});
  writer.commit();
  const Hdf5Reader reader(folder / "a.h5");
  EXPECT_EQ(reader.read<double>("single"), (std::vector<double>{static_cast<double>(0.1F), -3.5}));
  EXPECT_EQ(reader.read<float>("double"), (std::vector<float>{0.1F, 0.0F}));
}

TEST(Hdf5File, EmptyScalarAndStringData) {
  const TemporaryFolder folder;
  const std::string bytes("a\0b\xff", 4);
  Hdf5Writer writer(folder / "a.h5");
  writer.write<float>("empty", {}, {0, 5}, true);
  writer.write<std::int64_t>("scalar", std::vector<std::int64_t>{7}, {});
  writer.write_string("text", bytes, true);
  writer.write_string("no_text", "");
  writer.commit();
  const Hdf5Reader reader(folder / "a.h5");
  EXPECT_TRUE(reader.read<float>("empty", {0, 5}).empty());
  EXPECT_EQ(reader.read<std::int64_t>("scalar"), std::vector<std::int64_t>{7});
  EXPECT_EQ(reader.read_string("text"), bytes);
  EXPECT_EQ(reader.read_string("no_text"), "");
  EXPECT_EQ(reader.list("/"), (std::vector<std::string>{"empty", "no_text", "scalar", "text"}));
  EXPECT_TRUE(reader.has("/scalar"));
  EXPECT_FALSE(reader.has("/nothing/here"));
}

TEST(Hdf5File, AttributesOfAnyLength) {
  const TemporaryFolder folder;
  const std::string text = "τ = 0.05";
  const std::string large(200000, 'x');
  Hdf5Writer writer(folder / "a.h5");
  writer.attribute_int("step", -(std::int64_t{1} << 62));
  writer.attribute_string("config", text);
  writer.attribute_string("empty", "");
  writer.attribute_string("large", large);
  writer.commit();
  const Hdf5Reader reader(folder / "a.h5");
  EXPECT_EQ(reader.attribute_int("step"), -(std::int64_t{1} << 62));
  EXPECT_EQ(reader.attribute_string("config"), text);
  EXPECT_EQ(reader.attribute_string("empty"), "");
  EXPECT_EQ(reader.attribute_string("large"), large);
  EXPECT_TRUE(reader.has_attribute("step"));
  EXPECT_FALSE(reader.has_attribute("nothing"));
  EXPECT_THROW(reader.attribute_int("config"), Error);
  EXPECT_THROW(reader.attribute_string("step"), Error);
  EXPECT_THROW(reader.attribute_int("nothing"), Error);
}

TEST(Hdf5File, TheSameContentGivesTheSameBytes) {
  const TemporaryFolder folder;
  const auto write = [&](const char* name) {
    Hdf5Writer writer(folder / name);
    writer.write<float>("/a/b", std::vector<float>{1, 2}, {2});
    writer.attribute_string("kind", "test");
    writer.commit();
    return read_bytes(folder / name);
  };
  EXPECT_EQ(write("a.h5"), write("b.h5"));
}

TEST(Hdf5File, MessagesSayWhatWasExpectedAndFound) {
  const TemporaryFolder folder;
  Hdf5Writer writer(folder / "a.h5");
  writer.write<float>("/group/x", std::vector<float>(6), {2, 3});
  writer.write<std::int32_t>("/group/i", std::vector<std::int32_t>(6), {6});
  writer.commit();
  const Hdf5Reader reader(folder / "a.h5");
  const std::string file = (folder / "a.h5").string();
  std::vector<float> five(5);
  std::vector<std::int32_t> three(3);
  EXPECT_EQ(message([&] {
              reader.read<float>("/group/x", {3, 2});
            }),
            file + ": data set /group/x: expected shape [3, 2], found [2, 3]");
  EXPECT_EQ(message([&] { reader.read<float>("/group/x", {6}); }),
            file + ": data set /group/x: expected shape [6], found [2, 3]");
  EXPECT_EQ(message([&] { reader.read_into<float>("/group/x", five); }),
            file + ": data set /group/x: expected 5 elements, found shape [2, 3]");
  EXPECT_EQ(message([&] { reader.read<std::int64_t>("/group/i"); }),
            file + ": data set /group/i: expected int64, found int32");
  EXPECT_EQ(message([&] { reader.read<float>("/group/i"); }),
            file + ": data set /group/i: expected float32, found int32");
  EXPECT_EQ(message([&] { reader.read<float>("/group/y"); }), file + ": data set /group/y: is missing");
  EXPECT_EQ(message([&] { reader.read<float>("/group"); }), file + ": data set /group: is not a data set");
  EXPECT_EQ(message([&] { reader.list("/nothing"); }), file + ": group /nothing: is missing");
  EXPECT_EQ(message([&] { reader.read_slice<std::int32_t>("/group/i", 4, three); }),
            file + ": data set /group/i: no elements [4, 4 + 3) among 6");
  EXPECT_NE(message([&] { reader.read_slice<std::int32_t>("/group/i", -1, three); }), "");
  EXPECT_EQ(message([&] { reader.read_slice<float>("/group/x", 0, five); }),
            file + ": data set /group/x: elements [0, 0 + 5) are no whole rows of shape [2, 3]");
}

TEST(Hdf5File, ReadsLeaveNothingOpen) {
  const TemporaryFolder folder;
  Hdf5Writer writer(folder / "a.h5");
  writer.write<float>("x", std::vector<float>(6), {6});
  writer.commit();
  {
    Hdf5Reader reader(folder / "a.h5");
    const Hdf5Reader moved(std::move(reader));
    moved.read<float>("x");
    moved.list("/");
    EXPECT_EQ(H5Fget_obj_count(static_cast<hid_t>(H5F_OBJ_ALL), H5F_OBJ_ALL), 1);
  }
  EXPECT_EQ(H5Fget_obj_count(static_cast<hid_t>(H5F_OBJ_ALL), H5F_OBJ_ALL), 0);
}

}  // namespace
}  // namespace toller
