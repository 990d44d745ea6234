// What tokenizers are trained on in tests.
#pragma once

#include <string>
#include <vector>

namespace toller {

/// 512 sentences of four words each: every combination of eight adjectives, nouns, verbs and one ending.
inline std::vector<std::string> sentences() {
  const std::vector<std::string> adjectives{"Small",  "green", "heavy", "curious",
                                            "frozen", "quick", "blue",  "jazzy"};
  const std::vector<std::string> nouns{"dog",    "violin",  "exhibit", "planet",
                                       "walnut", "harbour", "mirror",  "wizard"};
  const std::vector<std::string> verbs{"keeps",  "moves", "breaks", "finds",
                                       "quotes", "fixes", "joins",  "yields"};
  std::vector<std::string> texts;
  for (const auto& adjective : adjectives) {
    for (const auto& noun : nouns) {
      for (const auto& verb : verbs) texts.push_back(adjective + " " + noun + " " + verb + " things.");
    }
  }
  return texts;
}

}  // namespace toller
