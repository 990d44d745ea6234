// Lines with the tokens that the `tokenizers` library gives them, and the tokenizer.json: the fixtures that
// tests/reference/*_reference.py of the tokenizers write.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "temporary_folder.h"
#include "text/tokenizer.h"

namespace toller {

/// More tokens than any line has.
inline constexpr std::int32_t kLong = 100000;

inline nlohmann::json read_library_fixture(const std::string& name) {
  return nlohmann::json::parse(read_bytes(TOLLER_SOURCE_DIR "/tests/text/fixtures/" + name));
}

inline Tokenizer tokenizer_of(const nlohmann::json& json) {
  return Tokenizer::from_bytes(json.dump(), "here");
}

/// All lines have the library's tokens, also with the tokenizer written and read again.
inline void expect_tokens_of_library(const nlohmann::json& fixture, std::size_t lines) {
  std::size_t count = 0;
  for (const nlohmann::json& given : fixture) {
    SCOPED_TRACE(given["name"].get<std::string>());
    const Tokenizer tokenizer = tokenizer_of(given["tokenizer"]);
    const Tokenizer again = Tokenizer::from_bytes(tokenizer.bytes(), "its own bytes");
    EXPECT_EQ(again.bytes(), tokenizer.bytes());
    const auto tokens = given["tokens"].get<std::vector<std::int32_t>>();
    auto next = tokens.begin();
    for (std::size_t i = 0; i < given["lines"].size(); ++i, ++count) {
      const auto line = given["lines"][i].get<std::string>();
      const std::vector<std::int32_t> expected(next, next + given["lengths"][i].get<std::ptrdiff_t>());
      next += std::ssize(expected);
      EXPECT_EQ(tokenizer.encode(line, kLong), expected)
          << i << ": " << given["lines"][i].dump(-1, ' ', true);
      EXPECT_EQ(again.encode(line, kLong), expected);
    }
    EXPECT_EQ(next, tokens.end());
  }
  EXPECT_EQ(count, lines);
}

/// Of every line, whatever the length: the tail is cut, the last token stays.
inline void expect_cut_tails(const nlohmann::json& given) {
  const Tokenizer tokenizer = tokenizer_of(given["tokenizer"]);
  for (const std::string line : given["lines"]) {
    const auto whole = tokenizer.encode(line, kLong);
    for (std::size_t length = 2; length < whole.size(); ++length) {
      auto expected = whole;
      expected[length - 1] = whole.back();
      expected.resize(length);
      ASSERT_EQ(tokenizer.encode(line, static_cast<std::int32_t>(length)), expected);
    }
  }
}

/// A change of a tokenizer.json that makes it wrong.
struct TokenizerFault {
  const char* name;
  const char* patch;  ///< RFC 7396
  const char* message;
};

inline void expect_named(nlohmann::json json, const TokenizerFault& fault) {
  json.merge_patch(nlohmann::json::parse(fault.patch));
  const std::string message = message_of([&] { tokenizer_of(json); });
  EXPECT_TRUE(message.starts_with("here: ")) << message;
  EXPECT_NE(message.find(fault.message), std::string::npos) << message;
}

}  // namespace toller
