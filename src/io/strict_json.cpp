#include "io/strict_json.h"

#include <fcntl.h>

#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include "error.h"
#include "io/raw_file.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kMaxObjectFile = 1 << 20;
constexpr int kObjectDepth = 16;

/// A value for a message: not more of it than a line.
std::string brief(const nlohmann::json& value) {
  constexpr std::size_t kMost = 60;
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kMost) text = text.substr(0, kMost) + "…";
  return text;
}

}  // namespace

nlohmann::json parse_strict_json(std::string_view text, const std::string& origin, int depth) {
  using Event = nlohmann::json::parse_event_t;
  std::vector<std::set<std::string>> keys;  // of the objects around the place in hand
  const auto watch = [&](int level, Event event, nlohmann::json& value) {
    const bool begins = event == Event::object_start || event == Event::array_start;
    if (begins && level >= depth) {
      fail("{}: has objects or lists more than {} deep, which nothing that belongs here has", origin, depth);
    }
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(value.get<std::string>()).second) {
      fail("{}: the key {} stands twice in one object", origin, brief(value));
    }
    return true;
  };
  try {
    return nlohmann::json::parse(text.begin(), text.end(), watch);
  } catch (const nlohmann::json::exception& problem) {
    fail("{}: is not JSON: {}", origin, problem.what());
  }
}

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

std::string read_small_file(const fs::path& path, std::uintmax_t limit) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) fail("{}: there is no such file", path.string());
  if (!fs::is_regular_file(status)) fail("{}: is not a regular file", path.string());
  const std::uintmax_t size = fs::file_size(path, error);
  if (error) fail("{}: cannot be read: {}", path.string(), error.message());
  if (size > limit) fail("{}: has {} bytes, more than the {} allowed here", path.string(), size, limit);
  std::string bytes(static_cast<std::size_t>(size), '\0');
  try {
    RawFile file(path, O_RDONLY);
    const int problem = file.read(std::as_writable_bytes(std::span(bytes)), 0);
    if (problem != 0) throw Error(std::strerror(problem));
  } catch (const Error& problem) {
    fail("{}: cannot be read: {}", path.string(), problem.what());
  }
  return bytes;
}

JsonObject::JsonObject(nlohmann::json json, std::string origin)
    : json_(std::move(json)), origin_(std::move(origin)) {
  if (!json_.is_object()) fail("{}: is not a JSON object", origin_);
}

JsonObject::JsonObject(const fs::path& path)
    : JsonObject(parse_strict_json(read_small_file(path, kMaxObjectFile), path.string(), kObjectDepth),
                 path.string()) {}

JsonObject JsonObject::of_file_if_there(const fs::path& path) {
  return is_there(path) ? JsonObject(path) : JsonObject(nlohmann::json::object(), path.string());
}

bool JsonObject::has(const std::string& field) const {
  const auto found = json_.find(field);
  return found != json_.end() && !found->is_null();
}

std::int32_t JsonObject::count(const std::string& field) const {
  if (!has(field)) fail("{}: lacks the field {}", origin_, field);
  return count(field, 0);
}

std::int32_t JsonObject::count(const std::string& field, std::int32_t fallback) const {
  if (!has(field)) return fallback;
  constexpr std::uint64_t kMost = 0x7fffffff;
  const nlohmann::json& value = json_[field];
  // Below 0 it is one above 2^63.
  const bool is_small = value.is_number_integer() && value.get<std::uint64_t>() <= kMost;
  if (!is_small) fail_type(field, "a whole number from 0 to 2^31 - 1");
  return value.get<std::int32_t>();
}

double JsonObject::number(const std::string& field, double fallback) const {
  if (!has(field)) return fallback;
  if (!json_[field].is_number()) fail_type(field, "a number");
  return json_[field].get<double>();
}

bool JsonObject::flag(const std::string& field, bool fallback) const {
  if (!has(field)) return fallback;
  if (!json_[field].is_boolean()) fail_type(field, "true or false");
  return json_[field].get<bool>();
}

std::string JsonObject::text(const std::string& field, const std::string& fallback) const {
  if (!has(field)) return fallback;
  if (!json_[field].is_string()) fail_type(field, "a text");
  return json_[field].get<std::string>();
}

void JsonObject::require(const std::string& field, const nlohmann::json& only) const {
  if (!has(field) || json_[field] == only) return;
  fail("{}: field {} is {}, which is not supported; {} is", origin_, field, brief(json_[field]), only.dump());
}

void JsonObject::require_absent(const std::string& field) const {
  if (has(field)) fail("{}: field {} ({}) is not supported", origin_, field, brief(json_[field]));
}

void JsonObject::fail_type(const std::string& field, const char* expected) const {
  fail("{}: field {} is {}, expected {}", origin_, field, brief(json_[field]), expected);
}

}  // namespace toller
