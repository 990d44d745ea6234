// The parts that deal with faults: counts of skipped steps, comparison of ranks, time limit, watched
// collectives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "comm/thread_communicator.h"
#include "comm/watched_communicator.h"
#include "error.h"
#include "train/rank_agreement.h"
#include "train/skipped_steps.h"
#include "train/time_limit.h"

namespace toller {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(SkippedStepsCount, GoesOnFromAStateWhateverItHolds) {
  SkippedSteps steps(1);
  steps.step_was_skipped();
  EXPECT_FALSE(steps.too_many());
  steps.step_was_made();
  steps.step_was_skipped();
  nlohmann::json state{{"step", 3}};
  steps.write_to(state);
  SkippedSteps resumed(1);
  resumed.resume(state);
  EXPECT_EQ(resumed.total(), 2);
  resumed.step_was_skipped();
  EXPECT_TRUE(resumed.too_many());
  for (const char* text : {"null", "[]", "{}", R"({"skipped_steps":"x","skipped_in_a_row":-4})"}) {
    resumed.resume(nlohmann::json::parse(text));
    EXPECT_EQ(resumed.total() + resumed.in_a_row(), 0) << text;
  }
  nlohmann::json none;
  SkippedSteps(1).write_to(none);
  EXPECT_TRUE(none.is_null());
}

TEST(SkippedStepsCount, NamesSomeTensors) {
  EXPECT_EQ(name_some({"a"}), "a");
  EXPECT_EQ(name_some({"a", "b", "c"}), "a, b and c");
  EXPECT_EQ(name_some({"a", "b", "c", "d", "e"}), "a, b, c and 2 others");
}

std::string comparison(const std::vector<std::uint64_t>& hashes) {
  std::string message;
  run_ranks(static_cast<int>(hashes.size()), [&](Communicator& communicator) {
    std::string own;
    try {
      require_same_on_all_ranks(hashes[static_cast<std::size_t>(communicator.rank())], "the weights",
                                communicator);
    } catch (const Error& error) {
      own = error.what();
    }
    if (communicator.rank() == 0) message = own;
    communicator.barrier();
    EXPECT_EQ(own, message) << communicator.rank();
  });
  return message;
}

TEST(RankAgreement, NamesTheRanksApart) {
  constexpr std::uint64_t kA = 0x0123456789ABCDEF, kB = kA ^ (std::uint64_t{1} << 63), kC = kA ^ 1;
  EXPECT_EQ(comparison({kA}), "");
  EXPECT_EQ(comparison({kA, kA, kA}), "");
  EXPECT_THAT(comparison({kA, kB, kA}), HasSubstr("the weights of rank 1 are not those of the other 2;"));
  EXPECT_THAT(comparison({kB, kA, kA, kC, kA}), HasSubstr("of ranks 0, 3 are not those of the other 3;"));
  EXPECT_THAT(comparison({kA, kC}), HasSubstr("no majority"));
  EXPECT_THAT(comparison({kA, kC, kC, kA}), HasSubstr("0, 3 | 1, 2"));
}

TEST(TimeLimitOption, ReadsSecondsAndHours) {
  EXPECT_EQ(parse_duration("t", "0"), 0);
  EXPECT_EQ(parse_duration("t", "90.5"), 90.5);
  EXPECT_EQ(parse_duration("t", "01:30:07"), 5407);
  EXPECT_EQ(parse_duration("t", "100:00:00"), 360'000);
  for (const char* text :
       {"", "x", "-1", "1:2", "1:60:00", "0:00:60", "1:2:3:4", "inf", "nan", "1e3", "1 h", ":::"}) {
    EXPECT_THROW(parse_duration("t", text), UsageError) << text;
  }
}

TEST(TimeLimit, LeavesTimeForStepsAndCheckpoints) {
  TimeLimit none(0, 100);
  EXPECT_FALSE(none.is_reached(1e9, 1));
  TimeLimit limit(100, 30);
  EXPECT_FALSE(limit.is_reached(9, 1));
  EXPECT_TRUE(limit.is_reached(10, 1)) << "what a checkpoint takes is not known";
  limit.checkpoint_took(2);
  limit.checkpoint_took(1);
  limit.step_took(3);
  limit.evaluation_took(4);
  const double reserve = 1.5 * (2 * 3 + 4 + 2 * 2);
  EXPECT_FALSE(limit.is_reached(100 - reserve - 0.1, 1));
  EXPECT_TRUE(limit.is_reached(100 - reserve, 1));
}

TEST(WatchedCommunicator, TellsOfACollectiveThatDoesNotEnd) {
  std::array<std::promise<std::string>, 2> late;
  run_ranks(2, [&](Communicator& group) {
    auto& told = late[static_cast<std::size_t>(group.rank())];
    WatchedCommunicator watched(group, 100ms, [&](const std::string& text) { told.set_value(text); });
    std::vector<float> data(1234, 1);
    watched.all_reduce_sum(data);
    EXPECT_EQ(data[7], 2);
    if (group.rank() == 1) std::this_thread::sleep_for(400ms);
    watched.all_reduce_sum(data);
    if (group.rank() == 1) told.set_value("");
  });
  EXPECT_THAT(
      late[0].get_future().get(),
      HasSubstr("rank 0: all_reduce_sum of 1,234 elements has not finished after 0.1 s: another rank"));
  EXPECT_EQ(late[1].get_future().get(), "");
}

}  // namespace
}  // namespace toller
