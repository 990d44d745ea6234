// The merging of byte-pair encoding (Sennrich et al., 2016).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace toller {

struct BpeMerge {
  std::int32_t left, right, merged;  ///< ids of pieces
};

class BpeMerges {
 public:
  /// Memory that calls of merge use again.
  class Work;

  /// Earlier ones come first; of a pair that stands there twice, the last counts.
  explicit BpeMerges(std::span<const BpeMerge> merges);

  /// Merges neighbours, those of the first merge and among them the leftmost, until no merge has any left,
  /// and appends what remains to `tokens`. n pieces take O(n log n).
  void merge(std::span<const std::int32_t> pieces, Work& work, std::vector<std::int32_t>& tokens) const;

 private:
  struct Entry {
    std::uint64_t pair = kNoPair;
    std::uint32_t rank = 0;
    std::int32_t merged = -1;
  };
  static constexpr std::uint64_t kNoPair = ~std::uint64_t{0};

  static std::uint64_t pair_of(std::int32_t left, std::int32_t right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  }
  /// The entry of a pair, or the free one where it belongs.
  std::size_t place_of(std::uint64_t pair) const;
  void add_candidate(std::int32_t left, Work& work) const;

  std::vector<Entry> entries_;  ///< hashed, open addressing, at most half full
  int shift_ = 0;               ///< of a hash of 64 bits to a place
};

class BpeMerges::Work {
 private:
  friend class BpeMerges;

  /// A list of what the pieces have become; places are those of their first pieces.
  struct Symbol {
    std::int32_t id;  ///< −1: has become part of the one before
    std::int32_t previous, next;
  };
  struct Candidate {
    std::uint64_t order;  ///< rank, then place of the left symbol
    std::uint64_t pair;
    std::int32_t merged;
  };

  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
};

}  // namespace toller
