// The run folder: no run is overwritten, and a resumed run's metrics have no gap and no double.
#include "train/run_folder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "error.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

class RunFolderTest : public testing::Test {
 protected:
  RunFolderTest()
      : path_(fs::temp_directory_path() /
              (std::string("toller-run-") + testing::UnitTest::GetInstance()->current_test_info()->name() +
               "-" + std::to_string(getpid()))) {
    fs::remove_all(path_);
  }
  ~RunFolderTest() override { fs::remove_all(path_); }

  std::vector<std::int64_t> steps() const {
    std::vector<std::int64_t> found;
    std::ifstream in(path_ / "metrics.jsonl");
    for (std::string line; std::getline(in, line);) found.push_back(nlohmann::json::parse(line)["step"]);
    return found;
  }

  fs::path path_;
};

TEST_F(RunFolderTest, RefusesAFolderThatHoldsARun) {
  RunFolder::create(path_).write_config({{"lr", 1}});
  EXPECT_THROW(RunFolder::create(path_), UsageError);
}

TEST_F(RunFolderTest, ResumeDropsLaterAndBrokenLines) {
  {
    RunFolder folder = RunFolder::create(path_);
    for (int step : {10, 20, 30}) folder.append_metrics({{"step", step}, {"loss", 1.5}});
  }
  std::ofstream(path_ / "metrics.jsonl", std::ios::app) << "{\"step\": 40, \"lo";
  {
    RunFolder folder = RunFolder::resume(path_, 20);
    EXPECT_EQ(steps(), (std::vector<std::int64_t>{10, 20}));
    folder.append_metrics({{"step", 25}});
  }
  EXPECT_EQ(steps(), (std::vector<std::int64_t>{10, 20, 25}));
}

TEST_F(RunFolderTest, ErrorsNameTheFolder) {
  std::ofstream(path_) << "a file";
  try {
    RunFolder::create(path_ / "run");
    FAIL() << "a folder below a file";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(path_.string()), std::string::npos);
  }
}

}  // namespace
}  // namespace toller
