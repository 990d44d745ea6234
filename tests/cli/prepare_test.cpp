// `toller prepare` of a collection so large that it keeps tokens: ended by a signal or a full disk somewhere,
// the same command goes on, and the store has the same bytes as if nothing had happened.
#include <gtest/gtest.h>

#include <memory>

#include "cli/scratch_folder.h"
#include "error.h"
#include "temporary_folder.h"

namespace toller {
namespace {

constexpr int kTexts = 280'000;  // more than four blocks

class Prepare : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<ScratchFolder>();
    std::string lines;
    for (int i = 0; i < kTexts / 2; ++i)
      lines += fmt::format("[\"amber {0}\", \"the {0} of {1}\"]\n", i, i * 7 % 1000);
    folder_->write("pairs.jsonl", lines);
    folder_->write(
        "vocab.txt",
        "[PAD]\n[UNK]\n[CLS]\n[SEP]\nam\n##ber\nthe\nof\n0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n##0\n##1\n##2\n");
    const CommandResult result = run(command("undisturbed.h5") + " --threads 3");
    ASSERT_EQ(result.status, 0) << result.output;
    ASSERT_EQ(result.output.find("already"), std::string::npos) << result.output;
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::string command(const std::string& store) {
    return fmt::format("toller prepare --collection pairs.jsonl --tokenizer vocab.txt --out {}", store);
  }
  static CommandResult run(const std::string& command) {
    return run_command(command, folder_->path(), std::chrono::seconds(60));
  }
  static bool is_there(const std::string& name) { return std::filesystem::exists(folder_->path() / name); }

  /// The same command again: it takes over what was kept, and nothing but the store is left.
  static void expect_it_goes_on() {
    const CommandResult result = run(command("store.h5") + " --threads 1");
    EXPECT_EQ(result.status, 0) << result.output;
    EXPECT_NE(result.output.find("texts are tokenized already"), std::string::npos) << result.output;
    EXPECT_FALSE(is_there("store.h5.partial"));
    EXPECT_TRUE(read_bytes(folder_->path() / "store.h5") == read_bytes(folder_->path() / "undisturbed.h5"));
    std::filesystem::remove(folder_->path() / "store.h5");
  }

  static inline std::unique_ptr<ScratchFolder> folder_;
};

struct Ending {
  const char* signal;
  int least_kept;  ///< bytes of the file of tokens when the signal comes
  int status;
};

class PrepareEnded : public Prepare, public testing::WithParamInterface<Ending> {};

TEST_P(PrepareEnded, GoesOnToTheSameBytes) {
  const CommandResult result =
      run(fmt::format("{} --threads 1 & process=$!\n"
                      "while [ $(stat -c %s store.h5.partial 2>/dev/null || echo 0) -lt {} ]; do kill -0 "
                      "$process || exit 99; done\n"
                      "kill -{} $process; wait $process",
                      command("store.h5"), GetParam().least_kept, GetParam().signal));
  EXPECT_EQ(result.status, GetParam().status) << result.output;
  EXPECT_LT(result.seconds, 30);
  EXPECT_FALSE(is_there("store.h5"));
  EXPECT_TRUE(is_there("store.h5.partial"));
  const bool could_tidy_up = std::string(GetParam().signal) != "KILL";
  for (const std::string& name : folder_->files()) {
    const bool is_temporary = name.starts_with(".store.h5.tmp-");
    EXPECT_FALSE(is_temporary && could_tidy_up) << name;
    if (is_temporary) std::filesystem::remove(folder_->path() / name);
  }
  expect_it_goes_on();
}

INSTANTIATE_TEST_SUITE_P(Signals, PrepareEnded,
                         testing::Values(Ending{"KILL", 2'000'000, 137}, Ending{"KILL", 3'000'000, 137},
                                         Ending{"KILL", 5'000'000, 137}, Ending{"TERM", 2'000'000, 143},
                                         Ending{"INT", 4'000'000, 130}),
                         [](const auto& info) {
                           return fmt::format("{}After{}", info.param.signal, info.param.least_kept);
                         });

TEST_F(Prepare, AFullDiskKeepsWhatIsSound) {
  const CommandResult result = run("trap '' XFSZ; ulimit -f 8000; " + command("store.h5"));  // 512 bytes each
  EXPECT_EQ(result.status, 1) << result.output;
  EXPECT_NE(result.output.find(
                "store.h5.partial: cannot write: File too large; the blocks that were written are kept"),
            std::string::npos)
      << result.output;
  expect_it_goes_on();
}

TEST_F(Prepare, OtherOptionsBeginAnew) {
  run("trap '' XFSZ; ulimit -f 8000; " + command("store.h5") + " --max-length 5");
  ASSERT_TRUE(is_there("store.h5.partial"));
  const CommandResult result = run(command("store.h5"));
  EXPECT_EQ(result.status, 0) << result.output;
  EXPECT_NE(result.output.find("store.h5.partial: of another tokenizer, other lengths or prompts: not used"),
            std::string::npos)
      << result.output;
  EXPECT_TRUE(read_bytes(folder_->path() / "store.h5") == read_bytes(folder_->path() / "undisturbed.h5"));
  EXPECT_FALSE(is_there("store.h5.partial"));
}

}  // namespace
}  // namespace toller
