// What is done to the texts of queries and of documents before the encoder sees them, beside the tokenizer: a
// prompt in front ("query: ", as E5 and others are trained with) and the length at which they are cut.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace toller {

struct SideForm {
  std::string prompt;           ///< written before every text, with nothing in between
  std::int32_t max_length = 0;  ///< tokens a text, those of the prompt and special ones included; 0: not told

  bool operator==(const SideForm&) const = default;
};

/// Of stores: how their tokens came to be. Of models: what they were trained with.
struct TextForm {
  SideForm queries, documents;

  bool operator==(const TextForm&) const = default;
};

/// {"queries": {"prompt": …, "max_length": …}, "documents": {…}}
nlohmann::json to_json(const TextForm& form);
/// Throws Error naming `origin` and the field for what is missing, unknown or of another type.
TextForm text_form_from_json(const nlohmann::json& json, const std::string& origin);

/// "" if both put the same prompts in front of texts, and otherwise what the difference is, for people.
std::string prompt_difference(const TextForm& one, const TextForm& other);

}  // namespace toller
