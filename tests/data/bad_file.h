// Files with one thing wrong with them, and what must be said of them.
#pragma once

#include <gmock/gmock.h>

#include <string>

#include "temporary_folder.h"

namespace toller {

struct BadFile {
  const char* file;
  std::string content;
  const char* message;
};

/// Writes the file into the folder; read(folder) must name it with the message.
template <class Read>
void expect_named(const BadFile& bad, const TemporaryFolder& folder, Read read) {
  folder.write(bad.file, bad.content);
  EXPECT_THAT(message_of([&] { read(folder.path()); }),
              ::testing::AllOf(::testing::HasSubstr((folder.path() / bad.file).string() + ":"),
                               ::testing::HasSubstr(bad.message)));
}

}  // namespace toller
