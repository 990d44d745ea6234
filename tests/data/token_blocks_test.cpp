// Interrupted tokenizing: what was tokenized is kept and taken over, and the store is the same in any case.
#include "data/token_block_file.h"

#include <gmock/gmock.h>

#include "data/token_store.h"
#include "file_size_limit.h"
#include "temporary_folder.h"

namespace toller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::int64_t kBlock = 10;

Collection example() {
  Collection collection;
  for (int i = 0; i < 45; ++i)
    collection.documents.push_back({fmt::format("d{}", i), fmt::format("text {}", i * i)});
  for (int i = 0; i < 15; ++i)
    collection.queries.push_back({fmt::format("q{}", i), fmt::format("text {}", i)});
  collection.splits["train"] = {{0, 1, 1, {}}, {3, 2, 1, {}}};
  return collection;
}

class TokenBlocks : public ::testing::Test {
 protected:
  TokenBlocks() { folder_.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\ntext\n0\n1\n2\n##3\n##4\n4\n"); }

  Tokenizer tokenizer() const { return Tokenizer::load(folder_ / "vocab.txt"); }
  std::filesystem::path partial() const { return folder_ / "store.h5.partial"; }

  /// Makes the store. `stop_at`: interrupts when so many blocks have been tokenized.
  TokenizeReport write(const Collection& collection, int stop_at = 1000,
                       const TextForm& form = {{"", 8}, {"", 8}}, int threads = 1) {
    said_.clear();
    StoreWatch watch;
    watch.block = kBlock;
    watch.least_kept = 20;
    watch.say = [&](const std::string& message) { said_.push_back(message); };
    watch.tokenizing = [&, stop_at](const TokenizeProgress& progress) {
      EXPECT_EQ(progress.total, std::ssize(collection.documents) + std::ssize(collection.queries));
      if (progress.texts > stop_at * kBlock) fail("interrupted");
    };
    return write_token_store(collection, tokenizer(), form, threads, folder_ / "store.h5", watch);
  }
  void interrupt(const Collection& collection, int stop_at) {
    EXPECT_EQ(message_of([&] { write(collection, stop_at); }), "interrupted");
    EXPECT_EQ(std::filesystem::exists(partial()), stop_at > 0);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "store.h5"));
  }
  std::string undisturbed(const Collection& collection, const TextForm& form = {{"", 8}, {"", 8}}) {
    write_token_store(collection, tokenizer(), form, 1, folder_ / "undisturbed.h5");
    return folder_.read("undisturbed.h5");
  }
  void expect_same_store(const std::string& expected) const {
    EXPECT_TRUE(folder_.read("store.h5") == expected);
    EXPECT_THAT(folder_.entries(),
                ::testing::UnorderedElementsAre("vocab.txt", "store.h5", "undisturbed.h5"));
  }

  TemporaryFolder folder_;
  std::vector<std::string> said_;
};

TEST_F(TokenBlocks, AreTakenOverWhereverItWasInterrupted) {
  const std::string expected = undisturbed(example());
  for (int blocks = 0; blocks < 6; ++blocks) {
    SCOPED_TRACE(blocks);
    interrupt(example(), blocks);
    const TokenizeReport report = write(example(), 1000, {{"", 8}, {"", 8}}, 1 + blocks % 3);
    const std::int64_t kept = blocks <= 4 ? blocks * 10 : 45;
    EXPECT_EQ(report.kept_texts, kept);
    EXPECT_EQ(report.texts, 60);
    if (blocks > 0) {
      EXPECT_THAT(said_, ElementsAre(HasSubstr(fmt::format("{} of 60 texts are tokenized already", kept))));
    }
    expect_same_store(expected);
    std::filesystem::remove(folder_ / "store.h5");
  }
}

TEST_F(TokenBlocks, CutOffAnywhereOnlyTheSoundOnesAreTakenOver) {
  const std::string expected = undisturbed(example());
  interrupt(example(), 3);
  const std::string whole = folder_.read("store.h5.partial");
  for (std::size_t size = 0; size < whole.size(); size += 101) {
    SCOPED_TRACE(size);
    folder_.write("store.h5.partial", whole.substr(0, size));
    write(example());
    expect_same_store(expected);
    std::filesystem::remove(folder_ / "store.h5");
  }
}

TEST_F(TokenBlocks, DamagedOnesAreNotTakenOver) {
  const std::string expected = undisturbed(example());
  interrupt(example(), 3);
  const std::string whole = folder_.read("store.h5.partial");
  for (std::size_t at = 8; at < whole.size(); at += 47) {
    SCOPED_TRACE(at);
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    folder_.write("store.h5.partial", damaged);
    EXPECT_LT(write(example()).kept_texts, 30);
    expect_same_store(expected);
    std::filesystem::remove(folder_ / "store.h5");
  }
}

TEST_F(TokenBlocks, OfOtherTextsAreNotTakenOver) {
  Collection changed = example();
  changed.documents[12].text = "text 2";
  const std::string expected = undisturbed(changed);
  interrupt(example(), 3);
  EXPECT_EQ(write(changed).kept_texts, 20);
  EXPECT_THAT(said_, ElementsAre(HasSubstr("20 of 60 texts are tokenized already"),
                                 HasSubstr("10 texts in it are not those of this collection any more")));
  expect_same_store(expected);
}

TEST_F(TokenBlocks, OfOtherSettingsAreNotTakenOver) {
  for (const TextForm& form : {TextForm{{"", 8}, {"", 3}}, TextForm{{"a ", 8}, {"", 8}}}) {
    const std::string expected = undisturbed(example(), form);
    interrupt(example(), 3);
    EXPECT_EQ(write(example(), 1000, form).kept_texts, 0);
    EXPECT_THAT(said_, ElementsAre(HasSubstr("of another tokenizer, other lengths or prompts: not used")));
    expect_same_store(expected);
    std::filesystem::remove(folder_ / "store.h5");
  }
  interrupt(example(), 3);
  folder_.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\ntext\n1\n0\n");
  const std::string expected = undisturbed(example());
  EXPECT_EQ(write(example()).kept_texts, 0);
  expect_same_store(expected);
}

TEST_F(TokenBlocks, OfDocumentsAreNotThoseOfQueries) {
  Collection collection = example();
  collection.queries.assign(collection.documents.begin(), collection.documents.begin() + 20);
  const TextForm form{{"0 ", 8}, {"", 8}};
  const std::string expected = undisturbed(collection, form);
  EXPECT_EQ(write(collection, 1000, form).kept_texts, 0);
  expect_same_store(expected);
}

TEST_F(TokenBlocks, SmallCollectionsLeaveNone) {
  Collection small = example();
  small.documents.resize(15);
  small.queries.resize(5);
  EXPECT_EQ(message_of([&] { write(small, 1); }), "interrupted");
  EXPECT_THAT(folder_.entries(), ElementsAre("vocab.txt"));
}

TEST_F(TokenBlocks, AFileOfSomethingElseIsInTheWay) {
  folder_.write("store.h5.partial", "my notes, which are nobody else's business");
  EXPECT_THAT(message_of([&] { write(example()); }), HasSubstr("store.h5.partial: is in the way"));
  EXPECT_EQ(folder_.read("store.h5.partial"), "my notes, which are nobody else's business");
}

TEST_F(TokenBlocks, AFullDiskKeepsThoseThatAreThere) {
  const std::string expected = undisturbed(example());
  interrupt(example(), 2);
  const std::int64_t size = std::filesystem::file_size(partial());
  interrupt(example(), 2);  // goes on: blocks 3 and 4
  const std::int64_t larger = std::filesystem::file_size(partial());
  TokenBlockFile file(folder_ / "full", {1, 2});
  const TokenBlock block{{2, 1}, {7, 8, 9}, 0};
  file.append({0, 1}, block);
  {
    const FileSizeLimit limit(std::filesystem::file_size(folder_ / "full") + 60);
    EXPECT_THAT(message_of([&] {
                  file.append({0, 2}, block);
                }),
                HasSubstr("full: cannot write: File too large"));
  }
  TokenBlockFile again(folder_ / "full", {1, 2});
  EXPECT_EQ(again.texts(), 2);
  EXPECT_EQ(again.read({0, 1}).tokens, block.tokens);
  EXPECT_FALSE(again.has({0, 2}));
  again.remove();
  EXPECT_LT(size, larger);
  EXPECT_EQ(write(example()).kept_texts, 40);
  expect_same_store(expected);
}

}  // namespace
}  // namespace toller
