#include "cli/work_bar.h"

#include <gtest/gtest.h>

namespace toller {
namespace {

TEST(WorkBar, IsALineAnIntervalWhereThereIsNoTerminal) {
  testing::internal::CaptureStdout();
  {
    WorkBar bar(false, std::chrono::duration<double>(0));
    EXPECT_TRUE(bar.is_due());
    bar.show(0.256, "reading");
    bar.say("a note");
    EXPECT_FALSE(WorkBar(false, std::chrono::hours(1)).is_due());
  }
  EXPECT_EQ(testing::internal::GetCapturedStdout(), " 26 %  reading\na note\n");
}

TEST(WorkBar, RedrawsItselfOnATerminal) {
  testing::internal::CaptureStdout();
  {
    WorkBar bar(true, std::chrono::hours(1));
    EXPECT_FALSE(bar.is_due());
    bar.show(0.5, "half");
    bar.say("a note");
    bar.show(1, "all");
    bar.restart();
    bar.show(0, "new");
  }
  EXPECT_EQ(testing::internal::GetCapturedStdout(),
            "\r\033[K[############............] half\r\033[Ka note\n"
            "\r\033[K[########################] all\r\033[K\r\033[K[........................] new\r\033[K");
}

}  // namespace
}  // namespace toller
