// Files that are not what they claim to be.
#include <gtest/gtest.h>
#include <hdf5.h>
#include <sys/stat.h>

#include "error.h"
#include "io/hdf5_file.h"
#include "temporary_folder.h"

namespace toller {
namespace {

std::string open_message(const std::filesystem::path& path) {
  return message_of<Error>([&] { Hdf5Reader reader(path); });
}

TEST(Hostile, NotAnHdf5File) {
  const TemporaryFolder folder;
  EXPECT_EQ(open_message(folder / "none.h5"),
            (folder / "none.h5").string() + ": cannot open: No such file or directory");
  EXPECT_NE(open_message(folder.path()).find("is a folder"), std::string::npos);
  EXPECT_NE(open_message("/dev/null").find("is not a regular file"), std::string::npos);
  write_bytes(folder / "empty.h5", "");
  EXPECT_NE(open_message(folder / "empty.h5").find("is empty"), std::string::npos);
  write_bytes(folder / "text.h5", std::string(5000, 'a'));
  EXPECT_NE(open_message(folder / "text.h5").find("is not an HDF5 file"), std::string::npos);
  ASSERT_EQ(::mkfifo((folder / "pipe.h5").c_str(), 0600), 0);
  EXPECT_NE(open_message(folder / "pipe.h5").find("is not a regular file"), std::string::npos);
}

/// A file made by plain HDF5 calls.
class ForeignFile : public testing::Test {
 protected:
  ForeignFile() : path(folder / "foreign.h5") {
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_LATEST);
    file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access);
    H5Pclose(access);
    properties = H5Pcreate(H5P_DATASET_CREATE);
  }
  ~ForeignFile() override { H5Pclose(properties); }

  /// Makes the data set "x" without writing a value.
  void declare(hid_t type, std::vector<hsize_t> shape) {
    const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
    const hid_t dataset = H5Dcreate2(file, "x", type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    ASSERT_GE(dataset, 0);
    H5Dclose(dataset);
    H5Sclose(space);
  }
  template <class T>
  std::string message() {
    H5Fclose(file);
    return message_of<Error>([&] { Hdf5Reader(path).read<T>("x"); });
  }

  TemporaryFolder folder;
  std::filesystem::path path;
  hid_t file = -1;
  hid_t properties = -1;
};

// HDF5's older structures have no checksums, and its library reads beyond their ends where they are damaged.
TEST_F(ForeignFile, OldForm) {
  H5Fclose(file);
  file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  declare(H5T_IEEE_F32LE, {4});
  EXPECT_NE(message<float>().find("the file is of HDF5's old form"), std::string::npos);
}

TEST_F(ForeignFile, OldFormOfOneObject) {
  H5Fclose(file);
  const hid_t creation = H5Pcreate(H5P_FILE_CREATE);
  H5Pset_shared_mesg_nindexes(creation, 1);  // makes the file's first block a newer one
  file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation, H5P_DEFAULT);
  H5Pclose(creation);
  declare(H5T_IEEE_F32LE, {4});
  const std::string text = message<float>();
  EXPECT_NE(text.find("x is of HDF5's old form"), std::string::npos) << text;
}

TEST_F(ForeignFile, MoreElementsThanTheFileHolds) {
  declare(H5T_IEEE_F32LE, {hsize_t{1} << 40});
  const std::string text = message<float>();
  EXPECT_NE(text.find("x: shape [1099511627776] needs 4398046511104 bytes, but only 0 are stored"),
            std::string::npos)
      << text;
}

TEST_F(ForeignFile, ShapeThatOverflows) {
  H5Pset_layout(properties, H5D_CHUNKED);
  const std::vector<hsize_t> chunk = {1, 1, 1};
  H5Pset_chunk(properties, 3, chunk.data());
  declare(H5T_STD_U8LE, {hsize_t{1} << 30, hsize_t{1} << 30, 1 << 10});
  const std::string text = message<std::uint8_t>();
  EXPECT_NE(text.find("is impossible"), std::string::npos) << text;
}

TEST_F(ForeignFile, ChunkLargerThanDeflateCanStore) {
  const hsize_t chunk = hsize_t{1} << 31;
  H5Pset_chunk(properties, 1, &chunk);
  H5Pset_deflate(properties, 1);
  declare(H5T_STD_U8LE, {hsize_t{1} << 31});
  const std::string text = message<std::uint8_t>();
  EXPECT_NE(text.find("needs 2147483648 bytes, but only 0 are stored"), std::string::npos) << text;
}

TEST_F(ForeignFile, DataOfAnotherFile) {
  write_bytes(folder / "secret", std::string(400, 's'));
  H5Pset_external(properties, (folder / "secret").c_str(), 0, 400);
  declare(H5T_STD_U8LE, {400});
  const std::string text = message<std::uint8_t>();
  EXPECT_NE(text.find("is kept in another file"), std::string::npos) << text;
}

TEST_F(ForeignFile, LinksOutOfTheTree) {
  H5Lcreate_external("/etc/other.h5", "/x", file, "x", H5P_DEFAULT, H5P_DEFAULT);
  const std::string text = message<std::uint8_t>();
  EXPECT_NE(text.find("soft or external link"), std::string::npos) << text;
}

TEST_F(ForeignFile, OtherElementTypes) {
  H5Pset_alloc_time(properties, H5D_ALLOC_TIME_EARLY);
  declare(H5T_IEEE_F32BE, {4});
  const std::string text = message<float>();
  EXPECT_NE(text.find("expected float32, found another type"), std::string::npos) << text;
}

TEST_F(ForeignFile, NoChecksum) {
  H5Pset_alloc_time(properties, H5D_ALLOC_TIME_EARLY);
  declare(H5T_IEEE_F32LE, {4});
  const std::string text = message<float>();
  EXPECT_NE(text.find("has no checksum (attribute xxh3_64): not written by Toller"), std::string::npos)
      << text;
}

}  // namespace
}  // namespace toller
