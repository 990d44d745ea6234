#include "io/new_folder.h"

#include <gtest/gtest.h>

#include "temporary_folder.h"

namespace toller {
namespace {

TEST(NewFolder, AppearsWhole) {
  const TemporaryFolder place;
  {
    NewFolder folder(place / "made/");
    folder.write("a.txt", "one");
    folder.write("in/b.txt", "two");
    EXPECT_FALSE(std::filesystem::exists(place / "made"));
    folder.commit();
  }
  EXPECT_EQ(place.entries(), std::vector<std::string>{"made"});
  EXPECT_EQ(place.read("made/a.txt"), "one");
  EXPECT_EQ(place.read("made/in/b.txt"), "two");
}

TEST(NewFolder, LeavesNothingWithoutCommit) {
  const TemporaryFolder place;
  {
    NewFolder folder(place / "made");
    folder.write("a.txt", "one");
    EXPECT_NE(message_of([&] { folder.write("a.txt", "again"); }).find("a.txt: cannot write: File exists"),
              std::string::npos);
  }
  EXPECT_TRUE(place.entries().empty());
}

TEST(NewFolder, TakesAnEmptyFolderAndNoOther) {
  const TemporaryFolder place;
  std::filesystem::create_directory(place / "empty");
  NewFolder folder(place / "empty");
  folder.commit();
  place.write("full/file", "");
  place.write("file", "");
  for (const char* name : {"full", "file"}) {
    EXPECT_EQ(message_of([&] { NewFolder other(place / name); }),
              (place / name).string() + ": is there already; name a folder that is new or empty");
  }
  EXPECT_NE(message_of([&] { NewFolder other(place / "none/made"); }).find("cannot create: No such file"),
            std::string::npos);
}

}  // namespace
}  // namespace toller
