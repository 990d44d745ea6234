// Text → terms for BM25: words by Unicode's rules (UAX #29), case folded.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace toller {

class TextAnalyzer {
 public:
  TextAnalyzer();
  ~TextAnalyzer();

  /// The terms in order. Pieces without letter, digit or ideograph (blanks, punctuation, symbols) are
  /// dropped. One thread at a time.
  std::vector<std::string> terms(std::string_view text);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace toller
