#include "text/piece_trie.h"

#include <algorithm>

namespace toller {

/// Lays out the nodes one after the other; a node is a range of the sorted pieces and a depth.
class PieceTrie::Builder {
 public:
  Builder(const std::map<std::string, std::int32_t>& pieces, std::vector<Unit>& units) : units_(units) {
    for (const auto& [piece, id] : pieces) pieces_.emplace_back(piece, id);
    units_.assign(kBytes + 1, {});
    units_[kRoot].parent = kRoot;
    open_.push_back({kRoot, 0, pieces_.size(), 0});
    while (!open_.empty()) {
      const Node node = open_.back();
      open_.pop_back();
      lay_out(node);
    }
  }

 private:
  static constexpr std::int32_t kBytes = 256;

  struct Node {
    std::int32_t unit;
    std::size_t first, last;  ///< pieces that pass through it
    std::size_t depth;
  };
  struct Branch {
    unsigned char byte;
    std::size_t first, last;
  };

  void lay_out(Node node) {
    if (node.first < node.last && pieces_[node.first].first.size() == node.depth) {
      units_[node.unit].id = pieces_[node.first].second;  // the shortest comes first
      ++node.first;
    }
    const std::vector<Branch> branches = branches_of(node);
    if (branches.empty()) return;
    const std::int32_t base = find_base(branches);
    units_[node.unit].base = base;
    if (std::ssize(units_) < base + kBytes) units_.resize(static_cast<std::size_t>(base) + kBytes);
    for (const Branch& branch : branches) {
      units_[base + branch.byte].parent = node.unit;
      open_.push_back({base + branch.byte, branch.first, branch.last, node.depth + 1});
    }
  }

  std::vector<Branch> branches_of(const Node& node) const {
    std::vector<Branch> branches;
    for (std::size_t i = node.first; i < node.last; ++i) {
      const auto byte = static_cast<unsigned char>(pieces_[i].first[node.depth]);
      if (branches.empty() || branches.back().byte != byte) branches.push_back({byte, i, i});
      branches.back().last = i + 1;
    }
    return branches;
  }

  bool is_free(std::int32_t unit) const { return unit >= std::ssize(units_) || units_[unit].parent < 0; }

  /// The first place where all children fit. Where almost nothing is free, the search does not begin again.
  std::int32_t find_base(const std::vector<Branch>& branches) {
    const std::int32_t lowest = branches.front().byte;
    std::int32_t taken = 0;
    for (std::int32_t place = std::max(first_tried_, lowest + 1);; ++place) {
      if (!is_free(place)) {
        ++taken;
        continue;
      }
      const std::int32_t base = place - lowest;
      const auto fits = [&](const Branch& branch) { return is_free(base + branch.byte); };
      if (!std::ranges::all_of(branches, fits)) continue;
      if (taken > 20 && 20 * taken > 19 * (place - first_tried_)) first_tried_ = place;
      return base;
    }
  }

  std::vector<std::pair<std::string_view, std::int32_t>> pieces_;
  std::vector<Unit>& units_;
  std::vector<Node> open_;
  std::int32_t first_tried_ = 1;
};

PieceTrie::PieceTrie(const std::map<std::string, std::int32_t>& pieces) {
  Builder(pieces, units_);
}

std::int32_t PieceTrie::walk(std::int32_t node, std::string_view bytes) const {
  for (std::size_t i = 0; i < bytes.size() && node >= 0; ++i) {
    node = child(node, static_cast<unsigned char>(bytes[i]));
  }
  return node;
}

}  // namespace toller
