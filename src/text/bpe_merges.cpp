#include "text/bpe_merges.h"

#include <algorithm>
#include <bit>

namespace toller {
namespace {

/// Of a heap whose top has the least order.
constexpr auto kLater = [](const auto& a, const auto& b) { return a.order > b.order; };

}  // namespace

BpeMerges::BpeMerges(std::span<const BpeMerge> merges) {
  const std::size_t size = std::bit_ceil(2 * merges.size() + 2);
  entries_.resize(size);
  shift_ = 64 - std::countr_zero(size);
  for (std::uint32_t rank = 0; rank < merges.size(); ++rank) {
    const std::uint64_t pair = pair_of(merges[rank].left, merges[rank].right);
    entries_[place_of(pair)] = {pair, rank, merges[rank].merged};
  }
}

std::size_t BpeMerges::place_of(std::uint64_t pair) const {
  std::size_t place = (pair * 0x9E3779B97F4A7C15U) >> shift_;  // Fibonacci hashing
  while (entries_[place].pair != pair && entries_[place].pair != kNoPair) {
    place = (place + 1) & (entries_.size() - 1);
  }
  return place;
}

void BpeMerges::add_candidate(std::int32_t left, Work& work) const {
  const Work::Symbol& symbol = work.symbols_[left];
  const std::uint64_t pair = pair_of(symbol.id, work.symbols_[symbol.next].id);
  const Entry& entry = entries_[place_of(pair)];
  if (entry.pair == kNoPair) return;
  work.heap_.push_back(
      {std::uint64_t{entry.rank} << 32 | static_cast<std::uint32_t>(left), pair, entry.merged});
  std::ranges::push_heap(work.heap_, kLater);
}

void BpeMerges::merge(std::span<const std::int32_t> pieces, Work& work,
                      std::vector<std::int32_t>& tokens) const {
  const auto size = static_cast<std::int32_t>(pieces.size());
  std::vector<Work::Symbol>& symbols = work.symbols_;
  symbols.clear();
  for (std::int32_t i = 0; i < size; ++i) symbols.push_back({pieces[i], i - 1, i + 1});
  work.heap_.clear();
  for (std::int32_t i = 0; i + 1 < size; ++i) add_candidate(i, work);
  while (!work.heap_.empty()) {
    const Work::Candidate best = work.heap_.front();
    std::ranges::pop_heap(work.heap_, kLater);
    work.heap_.pop_back();
    const auto place = static_cast<std::int32_t>(best.order & 0xFFFFFFFFU);
    Work::Symbol& left = symbols[place];
    // One of the two may have been merged with another meanwhile.
    if (left.id < 0 || left.next >= size || pair_of(left.id, symbols[left.next].id) != best.pair) continue;
    Work::Symbol& right = symbols[left.next];
    left.id = best.merged;
    left.next = right.next;
    right.id = -1;
    if (left.next < size) {
      symbols[left.next].previous = place;
      add_candidate(place, work);
    }
    if (left.previous >= 0) add_candidate(left.previous, work);
  }
  for (std::int32_t i = 0; i < size; i = symbols[i].next) tokens.push_back(symbols[i].id);
}

}  // namespace toller
