// Lines of a file that are JSON values each.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "data/text_file.h"

namespace toller {

/// The value; fails at the reader's line if it is no JSON.
nlohmann::json parse_json_line(std::string_view line, const LineReader& reader);

/// A string field of a record; "" if it is optional and missing or null. Fails at the reader's line
/// otherwise.
std::string string_field(const nlohmann::json& record, const char* name, bool optional,
                         const LineReader& reader);

/// Fails at the reader's line unless an id has something visible in it and no control characters.
void check_id(std::string_view id, const char* field, const LineReader& reader);

/// What is searched: title and text joined by a blank.
std::string titled_text(std::string title, std::string text);

}  // namespace toller
