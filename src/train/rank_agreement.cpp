#include "train/rank_agreement.h"

#include <algorithm>
#include <vector>

#include "comm/exchange.h"
#include "error.h"

namespace toller {
namespace {

/// Ranks that hold the same, the largest group first.
std::vector<std::vector<int>> group_ranks(const std::vector<std::uint64_t>& hashes) {
  std::vector<std::vector<int>> groups;
  for (std::size_t rank = 0; rank < hashes.size(); ++rank) {
    const auto group = std::ranges::find_if(groups, [&](const std::vector<int>& ranks) {
      return hashes[static_cast<std::size_t>(ranks.front())] == hashes[rank];
    });
    if (group == groups.end()) {
      groups.push_back({static_cast<int>(rank)});
    } else {
      group->push_back(static_cast<int>(rank));
    }
  }
  std::ranges::stable_sort(groups, [](const auto& a, const auto& b) { return a.size() > b.size(); });
  return groups;
}

}  // namespace

void require_same_on_all_ranks(std::uint64_t hash, const std::string& what, Communicator& communicator) {
  const std::vector<std::int64_t> one_each(static_cast<std::size_t>(communicator.size()), 1);
  const std::vector<std::vector<int>> groups =
      group_ranks(gather_words(std::span(&hash, 1), one_each, communicator));
  if (groups.size() == 1) return;
  constexpr const char* kAdvice = "the machines, their options and files, and go on with --resume";
  if (2 * groups[0].size() <= static_cast<std::size_t>(communicator.size())) {
    std::vector<std::string> texts;
    for (const auto& ranks : groups) texts.push_back(fmt::format("{}", fmt::join(ranks, ", ")));
    fail(
        "{} are not the same on all ranks, and no majority tells which are right (equal among themselves: "
        "{}); "
        "check {}",
        what, fmt::join(texts, " | "), kAdvice);
  }
  std::vector<int> apart;
  for (std::size_t group = 1; group < groups.size(); ++group) {
    apart.insert(apart.end(), groups[group].begin(), groups[group].end());
  }
  std::ranges::sort(apart);
  fail("{} of rank{} {} are not those of the other {}; check {}", what, apart.size() == 1 ? "" : "s",
       fmt::join(apart, ", "), groups[0].size(), kAdvice);
}

}  // namespace toller
