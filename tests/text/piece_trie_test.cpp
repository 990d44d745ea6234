#include "text/piece_trie.h"

#include <gtest/gtest.h>

#include <random>

namespace toller {
namespace {

std::string draw_bytes(std::mt19937& random, const std::string& alphabet, std::size_t longest) {
  std::string bytes(random() % (longest + 1), '\0');
  for (char& byte : bytes) byte = alphabet[random() % alphabet.size()];
  return bytes;
}

/// The longest of all pieces that are `prefix` and at least one byte more, and that text begins with.
PieceTrie::Match longest_by_search(const std::map<std::string, std::int32_t>& pieces,
                                   const std::string& prefix, const std::string& text) {
  PieceTrie::Match best;
  for (std::size_t length = 1; length <= text.size(); ++length) {
    const auto found = pieces.find(prefix + text.substr(0, length));
    if (found != pieces.end()) best = {found->second, length};
  }
  return best;
}

TEST(PieceTrie, FindsWhatASearchThroughAllPiecesFinds) {
  std::mt19937 random(1);
  const std::string all_bytes = [] {
    std::string bytes;
    for (int byte = 0; byte < 256; ++byte) bytes.push_back(static_cast<char>(byte));
    return bytes;
  }();
  for (const std::string& alphabet : {std::string("ab"), std::string("##a\xFF"), all_bytes}) {
    std::map<std::string, std::int32_t> pieces;
    for (std::int32_t id = 0; id < 3000; ++id) pieces[draw_bytes(random, alphabet, 9)] = id;
    const PieceTrie trie(pieces);
    for (int i = 0; i < 5000; ++i) {
      const std::string text = draw_bytes(random, alphabet, 12);
      const std::string prefix = draw_bytes(random, alphabet, 2);
      const PieceTrie::Match expected = longest_by_search(pieces, prefix, text);
      const std::int32_t node = trie.walk(PieceTrie::kRoot, prefix);
      if (node < 0) {
        EXPECT_EQ(expected.id, -1);
        continue;
      }
      const PieceTrie::Match found = trie.longest(node, text);
      EXPECT_EQ(found.id, expected.id);
      EXPECT_EQ(found.length, expected.length);
    }
  }
}

TEST(PieceTrie, MayBeEmpty) {
  const PieceTrie trie({});
  EXPECT_EQ(trie.longest(PieceTrie::kRoot, "a").id, -1);
  EXPECT_EQ(trie.walk(PieceTrie::kRoot, "#"), -1);
}

}  // namespace
}  // namespace toller
