#include "cli/glob.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "error.h"
#include "temporary_folder.h"

namespace toller {
namespace {

class Patterns : public testing::Test {
 protected:
  Patterns() {
    for (const char* name : {"b/step-2.h5", "b/step-10.h5", "a/step-1.h5", "a/deep/er/step-3.h5",
                             ".hidden/step-9.h5", "a/notes.txt", "a/odd[1].h5"}) {
      std::filesystem::create_directories((folder / name).parent_path());
      write_bytes(folder / name, "x");
    }
    std::filesystem::create_directory_symlink(folder / "a", folder / "link");
  }

  /// Names below the folder.
  std::vector<std::string> expand(const std::string& pattern) {
    std::vector<std::string> names;
    for (const auto& path : expand_pattern((folder / pattern).string())) {
      names.push_back(path.lexically_relative(folder.path()).string());
    }
    return names;
  }

  TemporaryFolder folder;
};

using Names = std::vector<std::string>;

TEST_F(Patterns, MatchWithinAFolder) {
  EXPECT_EQ(expand("b/step-*.h5"), (Names{"b/step-10.h5", "b/step-2.h5"}));
  EXPECT_EQ(expand("?/step-[12].h5"), (Names{"a/step-1.h5", "b/step-2.h5"}));
  EXPECT_EQ(expand("*/step-1.h5"), (Names{"a/step-1.h5", "link/step-1.h5"}));
}

TEST_F(Patterns, TwoStarsReachEveryFolderButHiddenAndLinkedOnes) {
  const Names all = {"a/deep/er/step-3.h5", "a/step-1.h5", "b/step-10.h5", "b/step-2.h5"};
  EXPECT_EQ(expand("**/step-*.h5"), all);
  EXPECT_EQ(expand("**/**/step-*.h5"), all);
  EXPECT_EQ(expand("a/**/step-*.h5"), (Names{"a/deep/er/step-3.h5", "a/step-1.h5"}));
  EXPECT_EQ(expand("**/a/step-1.h5"), (Names{"a/step-1.h5"}));
}

TEST_F(Patterns, PlainWordsAndExistingNamesStandForThemselves) {
  EXPECT_EQ(expand("none.h5"), (Names{"none.h5"}));
  EXPECT_EQ(expand("a/odd[1].h5"), (Names{"a/odd[1].h5"}));
}

TEST_F(Patterns, WithoutMatchAreErrors) {
  for (const char* name : {"**/nothing-*.h5", "none/*.h5", "a/notes.txt/*"}) {
    const std::string pattern = (folder / name).string();
    EXPECT_EQ(message_of<Error>([&] { expand_pattern(pattern); }),
              pattern + ": nothing matches this pattern");
  }
}

}  // namespace
}  // namespace toller
