// A set of byte strings with ids, for longest-match-first search: a trie as a double array (Aoe, 1989).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace toller {

class PieceTrie {
 public:
  static constexpr std::int32_t kRoot = 0;

  struct Match {
    std::int32_t id = -1;  ///< −1: none
    std::size_t length = 0;
  };

  /// Ids are not negative.
  explicit PieceTrie(const std::map<std::string, std::int32_t>& pieces);

  /// The node that `bytes` lead to from `node`, or −1.
  std::int32_t walk(std::int32_t node, std::string_view bytes) const;

  /// Calls on_piece(match) for the pieces that begin at `node`, shortest first: those of which at least one
  /// byte, and all that follow `node`, are a prefix of `text`; `length` counts the bytes after `node`.
  template <class OnPiece>
  void prefixes(std::int32_t node, std::string_view text, OnPiece on_piece) const {
    for (std::size_t i = 0; i < text.size(); ++i) {
      node = child(node, static_cast<unsigned char>(text[i]));
      if (node < 0) break;
      if (units_[node].id >= 0) on_piece(Match{units_[node].id, i + 1});
    }
  }

  /// The longest of `prefixes`.
  Match longest(std::int32_t node, std::string_view text) const {
    Match longest;
    prefixes(node, text, [&longest](const Match& match) { longest = match; });
    return longest;
  }

 private:
  /// The child of a node for byte b is unit base + b, if that names the node as its parent.
  struct Unit {
    std::int32_t base = 0;
    std::int32_t parent = -1;
    std::int32_t id = -1;
  };
  class Builder;

  std::int32_t child(std::int32_t node, unsigned char byte) const {
    const std::int32_t next = units_[node].base + byte;
    return units_[next].parent == node ? next : -1;
  }

  std::vector<Unit> units_;
};

}  // namespace toller
