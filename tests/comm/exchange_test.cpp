// Words and texts that ranks tell each other.
#include "comm/exchange.h"

#include <gtest/gtest.h>

#include "comm/thread_communicator.h"

namespace toller {
namespace {

TEST(Exchange, WordsOfAllRanksInTheirOrder) {
  const std::vector<std::int64_t> counts = {2, 0, 1, 3};
  run_ranks(4, [&](Communicator& communicator) {
    std::vector<std::uint64_t> own;
    for (std::int64_t i = 0; i < counts[static_cast<std::size_t>(communicator.rank())]; ++i) {
      own.push_back(0xFEDCBA9876543210 + 10 * static_cast<std::uint64_t>(communicator.rank()) +
                    static_cast<std::uint64_t>(i));
    }
    std::vector<std::uint64_t> expected;
    for (const std::uint64_t low : {0, 1, 20, 30, 31, 32}) expected.push_back(0xFEDCBA9876543210 + low);
    EXPECT_EQ(gather_words(own, counts, communicator), expected) << communicator.rank();
  });
}

TEST(Exchange, TextsOfAnyLength) {
  for (const std::string& text : {std::string(), std::string("a\0b", 3), std::string(100'000, 'x')}) {
    run_ranks(3, [&](Communicator& communicator) {
      std::string told = communicator.rank() == 1 ? text : "something else";
      broadcast_text(told, 1, communicator);
      EXPECT_EQ(told, text);
    });
  }
}

}  // namespace
}  // namespace toller
