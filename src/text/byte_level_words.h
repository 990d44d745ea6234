// How byte-level BPE divides text into words: the regular expressions of GPT-2 and of Qwen2, matched by hand
// as Oniguruma does in the `tokenizers` library, whose letters and digits are those of Unicode 16.
#pragma once

#include <cstddef>
#include <string_view>

namespace toller {

enum class WordPattern { kGpt2, kQwen2 };

/// The regular expression as a tokenizer.json has it.
std::string_view regular_expression(WordPattern pattern);

/// Where the word that begins at `begin` < text.size() ends. `text` must be well-formed UTF-8.
std::size_t end_of_word(WordPattern pattern, std::string_view text, std::size_t begin);

}  // namespace toller
