// What notices operations that never finish.
#include "cuda/operation_watchdog.h"

#include <gtest/gtest.h>

#include <chrono>
#include <mutex>
#include <string>
#include <thread>

#include "cuda/compute_stream.h"
#include "cuda/execution_model.h"

namespace toller {
namespace {

using namespace std::chrono_literals;

/// A stream that goes no further.
class Watchdog : public testing::Test {
 protected:
  WatchdogOptions options() {
    return {100ms, "look around", [] { return std::string(); },
            [this](const std::string& text) {
              const std::lock_guard lock(mutex_);
              text_ = text;
            }};
  }
  std::string text() {
    const std::lock_guard lock(mutex_);
    return text_;
  }

  ComputeStream stream_;
  HeldStream held_{stream_.get()};

 private:
  std::mutex mutex_;
  std::string text_;
};

TEST_F(Watchdog, NamesTheOldestOfManyOperations) {
  OperationWatchdog watchdog(options());
  for (std::int64_t i = 0; i < 1000; ++i) watchdog.watch({"all_reduce_sum", 1000000 + i}, stream_.get());
  std::this_thread::sleep_for(400ms);
  watchdog.stop();
  EXPECT_EQ(text(), "all_reduce_sum of 1,000,000 elements has not finished after 0.1 s: look around");
}

TEST_F(Watchdog, IsQuietWhenOperationsFinish) {
  OperationWatchdog watchdog(options());
  for (std::int64_t i = 0; i < 1000; ++i) watchdog.watch({"all_reduce_sum", i}, stream_.get());
  held_.release();
  for (int i = 0; i < 20; ++i) {
    watchdog.watch({"all_gather", 7}, stream_.get());
    std::this_thread::sleep_for(15ms);
  }
  EXPECT_EQ(text(), "");
}

TEST_F(Watchdog, SeesWhatHangsBehindAFullList) {
  OperationWatchdog watchdog(options());
  for (std::int64_t i = 0; i < 1000; ++i) watchdog.watch({"all_reduce_sum", i}, nullptr);
  watchdog.watch({"all_gather", 7}, stream_.get());
  std::this_thread::sleep_for(400ms);
  watchdog.stop();
  EXPECT_EQ(text(), "all_gather of 7 elements has not finished after 0.1 s: look around");
}

}  // namespace
}  // namespace toller
