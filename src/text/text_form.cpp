#include "text/text_form.h"

#include <nlohmann/json.hpp>

#include "error.h"
#include "json_value.h"

namespace toller {
namespace {

nlohmann::json to_json(const SideForm& side) {
  return {{"prompt", side.prompt}, {"max_length", side.max_length}};
}

SideForm side_from_json(const nlohmann::json& json, const std::string& origin) {
  if (!json.is_object() || json.size() != 2 || !json.contains("prompt") || !json.contains("max_length")) {
    fail("{}: is not an object of prompt and max_length", origin);
  }
  SideForm side;
  try {
    side.prompt = json_value<std::string>(json["prompt"]);
    side.max_length = json_value<std::int32_t>(json["max_length"]);
  } catch (const Error& problem) {
    fail("{}: {}", origin, problem.what());
  }
  if (side.max_length < 0) fail("{}: max_length is {}", origin, side.max_length);
  return side;
}

}  // namespace

nlohmann::json to_json(const TextForm& form) {
  return {{"queries", to_json(form.queries)}, {"documents", to_json(form.documents)}};
}

TextForm text_form_from_json(const nlohmann::json& json, const std::string& origin) {
  if (!json.is_object() || json.size() != 2 || !json.contains("queries") || !json.contains("documents")) {
    fail("{}: is not an object of queries and documents", origin);
  }
  return {side_from_json(json["queries"], origin + ": queries"),
          side_from_json(json["documents"], origin + ": documents")};
}

std::string prompt_difference(const TextForm& one, const TextForm& other) {
  if (one.queries.prompt != other.queries.prompt) {
    return fmt::format("\"{}\" and \"{}\" before queries", one.queries.prompt, other.queries.prompt);
  }
  if (one.documents.prompt != other.documents.prompt) {
    return fmt::format("\"{}\" and \"{}\" before documents", one.documents.prompt, other.documents.prompt);
  }
  return "";
}

}  // namespace toller
