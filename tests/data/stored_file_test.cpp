// Files that may be compressed: whole, damaged, cut short, with something after their end.
#include "data/stored_file.h"

#include <gmock/gmock.h>

#include "compressed_bytes.h"
#include "data/text_file.h"
#include "temporary_folder.h"

namespace toller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::string content_of(const std::filesystem::path& path) {
  const auto source = open_source(path);
  std::string content, block(1000, '\0');
  while (const std::size_t count = source->read(block)) content.append(block, 0, count);
  return content;
}

/// More than the reader's buffers, not all of it compressible.
std::string long_text() {
  std::string text;
  std::uint32_t state = 1;
  for (int i = 0; i < 200'000; ++i) {
    state = state * 1664525 + 1013904223;
    text += std::to_string(state) + (i % 7 == 0 ? "\n" : " ");
  }
  return text;
}

struct Compression {
  const char* ending;
  std::string (*compress)(const std::string&);
};

class StoredFile : public ::testing::TestWithParam<Compression> {
 protected:
  std::filesystem::path write(const std::string& bytes) const {
    return folder_.write(std::string("a.txt") + GetParam().ending, bytes);
  }
  std::string message(const std::string& bytes) const {
    const auto path = write(bytes);
    const std::string text = message_of([&] { content_of(path); });
    EXPECT_THAT(text, HasSubstr(path.string() + ": "));
    return text;
  }
  static std::string compress(const std::string& content) { return GetParam().compress(content); }

  TemporaryFolder folder_;
};

INSTANTIATE_TEST_SUITE_P(Compressions, StoredFile,
                         ::testing::Values(Compression{".gz", gzip_bytes}, Compression{".zst", zstd_bytes}),
                         [](const auto& info) { return info.param.ending + 1; });

TEST_P(StoredFile, IsDecompressed) {
  const std::string text = long_text();
  EXPECT_TRUE(content_of(write(compress(text))) == text);
  EXPECT_EQ(content_of(write(compress(""))), "");
  EXPECT_EQ(content_of(write(compress("one\n") + compress("") + compress("two\n"))), "one\ntwo\n");
  EXPECT_TRUE(content_of(write(compress(text) + compress(text))) == text + text);
}

TEST_P(StoredFile, CutShortAnywhereIsAnError) {
  const std::string whole = compress("first\nsecond\nthird\nfourth\n");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THAT(message(whole.substr(0, size)), HasSubstr("is cut short")) << size;
    EXPECT_THAT(message(whole + whole.substr(0, std::max<std::size_t>(1, size))), HasSubstr("is cut short"))
        << size;
  }
  const std::string large = compress(long_text());
  EXPECT_THAT(message(large.substr(0, large.size() / 2)), HasSubstr("is cut short"));
  EXPECT_THAT(message(large.substr(0, large.size() - 1)), HasSubstr("is cut short"));
}

TEST_P(StoredFile, DamageIsAnError) {
  std::string large = compress(long_text());
  large[large.size() / 2] = static_cast<char>(large[large.size() / 2] ^ 0x10);
  EXPECT_NE(message(large), "");
  EXPECT_NE(message("{\"query\": \"plain text\"}\n"), "");
  EXPECT_NE(message(compress("text") + "garbage that follows"), "");
}

TEST(StoredFileNames, SayWhatIsThere) {
  const TemporaryFolder folder;
  folder.write("train.tsv.gz", gzip_bytes("a\n"));
  folder.write("dev.tsv", "a\n");
  folder.write("README.md", "");
  EXPECT_THAT(stored_files(folder.path(), ".tsv"),
              ElementsAre(Pair("dev", folder / "dev.tsv"), Pair("train", folder / "train.tsv.gz")));
  EXPECT_EQ(stored_as(folder / "train.tsv"), folder / "train.tsv.gz");
  EXPECT_EQ(stored_as(folder / "test.tsv"), folder / "test.tsv");
  EXPECT_EQ(plain_name("a/b.tsv.zst"), "a/b.tsv");
  EXPECT_EQ(plain_name("a.gz/b.tsv"), "a.gz/b.tsv");
  folder.write("dev.tsv.zst", zstd_bytes("a\n"));
  EXPECT_THAT(message_of([&] { stored_as(folder / "dev.tsv"); }), HasSubstr("dev.tsv is there too"));
  EXPECT_THAT(message_of([&] { stored_files(folder.path(), ".tsv"); }), HasSubstr("dev.tsv is there too"));
}

TEST(StoredFileMessages, SayWhatIsWrong) {
  const TemporaryFolder folder;
  const auto message = [&](const char* name, const std::string& bytes) {
    return message_of([&] { content_of(folder.write(name, bytes)); });
  };
  EXPECT_THAT(message("a.gz", "plain text"), HasSubstr("is not a gzip file"));
  EXPECT_THAT(message("a.gz", gzip_bytes("a") + "more"), HasSubstr("has no gzip data after its end"));
  EXPECT_THAT(message("a.zst", "plain text"), HasSubstr("not a Zstandard file"));
}

TEST(StoredFileProgress, IsToldInStoredBytesAndMayEndTheReading) {
  const TemporaryFolder folder;
  const std::string bytes = gzip_bytes(long_text());
  const auto path = folder.write("lines.gz", bytes);
  std::int64_t last = 0;
  LineReader reader(path, [&](const ReadProgress& progress) {
    EXPECT_EQ(progress.file, path);
    EXPECT_EQ(progress.size, std::ssize(bytes));
    EXPECT_GE(progress.bytes, last);
    last = progress.bytes;
  });
  std::int64_t lines = 0;
  for (std::string_view line; reader.next(line);) ++lines;
  EXPECT_EQ(lines, 200'000 / 7 + 2);
  EXPECT_EQ(last, std::ssize(bytes));
  LineReader ended(path, [](const ReadProgress&) { fail("enough"); });
  std::string_view line;
  EXPECT_EQ(message_of([&] { ended.next(line); }), "enough");
}

}  // namespace
}  // namespace toller
