#include <gmock/gmock.h>

#include "data/text_file.h"
#include "temporary_folder.h"

namespace toller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> lines_of(const std::string& content) {
  const TemporaryFolder folder;
  LineReader reader(folder.write("text", content));
  std::vector<std::string> lines;
  std::string_view line;
  while (reader.next(line)) lines.push_back(fmt::format("{} {}", reader.line_number(), line));
  return lines;
}

TEST(LineReader, ToleratesByteOrderMarkCarriageReturnsAndEmptyLinesAtTheEnd) {
  EXPECT_THAT(lines_of("\xEF\xBB\xBF"
                       "a\r\n\xC3\xA9\r\n\r\n \n\n"),
              ElementsAre("1 a", "2 \xC3\xA9"));
  EXPECT_THAT(lines_of("a\nb"), ElementsAre("1 a", "2 b"));
  EXPECT_THAT(lines_of(""), ElementsAre());
}

TEST(LineReader, RefusesEmptyLinesInside) {
  EXPECT_THAT(message_of([] { lines_of("a\n\n\nb\n"); }), HasSubstr("text:2: empty line"));
}

TEST(LineReader, RefusesWhatIsNotUtf8) {
  EXPECT_THAT(message_of([] { lines_of("a\nb\xE9 c\n"); }), HasSubstr("text:2: byte 2 is not valid UTF-8"));
  EXPECT_THAT(message_of([] { lines_of("\xED\xA0\x80\n"); }),
              HasSubstr("text:1: byte 1"));                                              // a lone surrogate
  EXPECT_THAT(message_of([] { lines_of("ab\xE2\x82"); }), HasSubstr("text:1: byte 3"));  // cut short
}

TEST(LineReader, NamesFilesThatCannotBeRead) {
  EXPECT_THAT(message_of([] { LineReader("/nowhere/file"); }),
              HasSubstr("/nowhere/file: cannot open: No such file"));
  EXPECT_THAT(message_of([] { LineReader("/"); }), HasSubstr("/: is a folder"));
}

TEST(AtomicFileWriter, AFileAppearsOnlyWithCommit) {
  const TemporaryFolder folder;
  folder.write("file", "before");
  {
    AtomicFileWriter writer(folder.path() / "file");
    writer.write(std::string(std::size_t{3} << 20, 'x'));
    EXPECT_EQ(folder.read("file"), "before");
  }
  EXPECT_EQ(folder.read("file"), "before");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
  AtomicFileWriter writer(folder.path() / "file");
  writer.write("af");
  writer.write("ter");
  writer.commit();
  EXPECT_EQ(folder.read("file"), "after");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(AtomicFileWriter, SaysWhyItCannotWrite) {
  EXPECT_THAT(message_of([] { AtomicFileWriter("/nowhere/file"); }),
              HasSubstr("/nowhere/file: cannot create"));
  const auto fill = [] {
    const TemporaryFolder folder;
    std::filesystem::create_directories(folder.path() / "taken" / "inside");
    AtomicFileWriter writer(folder.path() / "taken");
    writer.commit();
  };
  EXPECT_THAT(message_of(fill), HasSubstr("taken: cannot rename into place"));
}

}  // namespace
}  // namespace toller
