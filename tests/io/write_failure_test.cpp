// Writers that cannot write: a clear Error, nothing left behind, the old file as it was, HDF5 in good order.
#include <gtest/gtest.h>
#include <hdf5.h>
#include <sys/mount.h>

#include <numeric>

#include "error.h"
#include "file_size_limit.h"
#include "io/hdf5_file.h"
#include "temporary_folder.h"

namespace toller {
namespace {

void write_sample(const std::filesystem::path& path, std::size_t elements) {
  std::vector<float> values(elements);
  std::iota(values.begin(), values.end(), 1.0F);
  Hdf5Writer writer(path);
  for (const char* name : {"/parameters/a", "/parameters/b", "/c"}) {
    writer.write<float>(name, values, {static_cast<std::int64_t>(elements)});
  }
  writer.write<float>("/packed", values, {static_cast<std::int64_t>(elements)}, true);
  writer.begin("/pieces", ElementType::kFloat32, {static_cast<std::int64_t>(elements)});
  writer.append<float>(std::span(values).first(5));
  writer.append<float>(std::span(values).subspan(5));
  writer.attribute_string("config", std::string(500, 'x'));
  writer.commit();
}

std::int64_t open_objects() {
  return H5Fget_obj_count(static_cast<hid_t>(H5F_OBJ_ALL), H5F_OBJ_ALL);
}

TEST(WriteFailure, AtEveryPlaceInTheFile) {
  const TemporaryFolder folder;
  const auto path = folder / "a.h5";
  write_sample(path, 10);
  const std::string old = read_bytes(path);
  write_sample(folder / "whole.h5", 3000);
  const auto size = static_cast<rlim_t>(std::filesystem::file_size(folder / "whole.h5"));
  std::filesystem::remove(folder / "whole.h5");
  int failures = 0;
  for (rlim_t limit = 0; limit < size; limit += 97) {
    std::string message;
    {
      const FileSizeLimit full(limit);
      message = message_of<Error>([&] { write_sample(path, 3000); });
    }
    ++failures;
    ASSERT_NE(message.find("a.h5: cannot write"), std::string::npos) << "limit " << limit << ": " << message;
    ASSERT_NE(message.find("File too large"), std::string::npos) << "limit " << limit << ": " << message;
    ASSERT_EQ(folder.entries(), std::vector<std::string>{"a.h5"}) << "limit " << limit;
    ASSERT_EQ(read_bytes(path), old) << "limit " << limit;
    ASSERT_EQ(open_objects(), 0) << "limit " << limit;
  }
  EXPECT_GT(failures, 100);
  write_sample(path, 3000);
  EXPECT_EQ(read_bytes(path).size(), size);
}

TEST(WriteFailure, FullDisk) {
  const TemporaryFolder folder;
  if (::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=64k") != 0) {
    GTEST_SKIP() << "no right to mount a small file system";
  }
  const std::string message = message_of<Error>([&] { write_sample(folder / "a.h5", 10000); });
  const auto entries = folder.entries();
  write_sample(folder / "small.h5", 10);
  const bool readable = Hdf5Reader(folder / "small.h5").has("/parameters/a");
  ::umount(folder.path().c_str());
  EXPECT_EQ(open_objects(), 0);
  EXPECT_NE(message.find("No space left on device"), std::string::npos) << message;
  EXPECT_TRUE(entries.empty());
  EXPECT_TRUE(readable);
}

TEST(WriteFailure, TargetsThatCannotBe) {
  const TemporaryFolder folder;
  write_bytes(folder / "plain", "x");
  const auto message = [](const std::filesystem::path& path) {
    return message_of<Error>([&] { write_sample(path, 10); });
  };
  EXPECT_EQ(message(folder / "none/a.h5"), (folder / "none/a.h5").string() + ": cannot write: the folder " +
                                               (folder / "none").string() + " does not exist");
  EXPECT_NE(message(folder / "plain/a.h5").find("cannot write"), std::string::npos);
  EXPECT_NE(message(folder.path()).find("is not a regular file"), std::string::npos);
  EXPECT_NE(message(folder.path().string() + "/").find("ends in '/'"), std::string::npos);
  EXPECT_NE(message("/dev/null").find("is not a regular file"), std::string::npos);
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  EXPECT_NE(message("/proc/a.h5").find("cannot write"), std::string::npos);
  EXPECT_EQ(folder.entries(), std::vector<std::string>{"plain"});
  EXPECT_EQ(open_objects(), 0);
}

TEST(WriteFailure, DestroyedBeforeCommitLeavesTheOldFile) {
  const TemporaryFolder folder;
  const auto path = folder / "a.h5";
  write_sample(path, 10);
  const std::string old = read_bytes(path);
  {
    Hdf5Writer writer(path);
    writer.write<float>("x", std::vector<float>(1000), {1000});
    EXPECT_EQ(read_bytes(path), old);
    EXPECT_EQ(folder.entries().size(), 2U);
  }
  EXPECT_EQ(read_bytes(path), old);
  EXPECT_EQ(folder.entries(), std::vector<std::string>{"a.h5"});
}

TEST(WriteFailure, WrongUse) {
  const TemporaryFolder folder;
  Hdf5Writer writer(folder / "a.h5");
  const std::vector<float> values(6);
  EXPECT_THROW(writer.write<float>("x", values, {5}), Error);
  EXPECT_THROW(writer.write<float>("x", values, {-2, -3}), Error);
  EXPECT_THROW(writer.write<float>("x", values, {std::int64_t{1} << 62, 8}), Error);
  writer.write<float>("x", values, {6});
  EXPECT_THROW(writer.write<float>("x", values, {6}), Error) << "the name is taken";
  EXPECT_THROW(writer.commit(), Error) << "given up after the failure";
  EXPECT_TRUE(folder.entries().empty());
}

}  // namespace
}  // namespace toller
