#include "data/json_line.h"

#include <algorithm>

#include "text/unicode.h"

namespace toller {
namespace {

/// What the JSON parser objects to, without its prefix (it counts this line as line 1) and without the text
/// it read.
std::string json_complaint(const nlohmann::json::parse_error& error) {
  const std::string_view whole = error.what();
  const std::size_t colon = whole.find(": ");
  const std::string_view complaint = colon == std::string_view::npos ? whole : whole.substr(colon + 2);
  return std::string(complaint.substr(0, complaint.find("; last read")));
}

}  // namespace

nlohmann::json parse_json_line(std::string_view line, const LineReader& reader) {
  try {
    return nlohmann::json::parse(line);
  } catch (const nlohmann::json::parse_error& error) {
    reader.fail_here("broken JSON near column {}: {}", error.byte, json_complaint(error));
  } catch (const nlohmann::json::out_of_range& error) {  // 1e999
    const std::string_view whole = error.what();  // "[json.exception.out_of_range.406] number overflow …"
    reader.fail_here("broken JSON: {}", whole.substr(whole.find(' ') + 1));
  }
}

std::string string_field(const nlohmann::json& record, const char* name, bool optional,
                         const LineReader& reader) {
  const auto field = record.find(name);
  if (field == record.end() || (optional && field->is_null())) {
    if (optional) return "";
    reader.fail_here("field \"{}\" is missing", name);
  }
  if (!field->is_string()) reader.fail_here("field \"{}\" is not a string but {}", name, field->type_name());
  return field->get<std::string>();
}

void check_id(std::string_view id, const char* field, const LineReader& reader) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20; };
  if (is_blank(id)) reader.fail_here("field \"{}\" is empty", field);
  if (std::ranges::any_of(id, is_control)) {
    reader.fail_here("field \"{}\" holds a tab or a control character", field);
  }
}

std::string titled_text(std::string title, std::string text) {
  if (title.empty()) return text;
  return text.empty() ? title : title + ' ' + text;
}

}  // namespace toller
