// JSON from outside, in which nothing is overlooked: a key that stands twice in an object, or lists in lists
// without end, is an error, and numbers are what they say.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace toller {

/// Error, beginning with `origin`, if the text is not JSON in UTF-8, has a key twice in one object, or
/// objects and lists more than `depth` deep.
nlohmann::json parse_strict_json(std::string_view text, const std::string& origin, int depth);

/// Whether there is something of that name; no where that cannot be found out.
bool is_there(const std::filesystem::path& path);

/// A whole file; Error if it is not a regular file that can be read, or has more than `limit` bytes.
std::string read_small_file(const std::filesystem::path& path, std::uintmax_t limit);

/// The fields of a JSON object. All methods throw Error naming the origin and the field. A field that is null
/// is taken for absent.
class JsonObject {
 public:
  /// `origin` names the object in errors. Error unless it is an object.
  JsonObject(nlohmann::json json, std::string origin);
  /// Reads a file of a MiB at most.
  explicit JsonObject(const std::filesystem::path& path);
  /// The same, or an object without fields if there is no such file.
  static JsonObject of_file_if_there(const std::filesystem::path& path);

  const nlohmann::json& json() const { return json_; }
  const std::string& origin() const { return origin_; }
  bool has(const std::string& field) const;

  /// From 0 to 2^31 - 1.
  std::int32_t count(const std::string& field) const;
  std::int32_t count(const std::string& field, std::int32_t fallback) const;
  double number(const std::string& field, double fallback) const;
  bool flag(const std::string& field, bool fallback) const;
  std::string text(const std::string& field, const std::string& fallback) const;
  /// Error unless the field is absent or has this value.
  void require(const std::string& field, const nlohmann::json& only) const;
  /// Error if the field is there.
  void require_absent(const std::string& field) const;

 private:
  [[noreturn]] void fail_type(const std::string& field, const char* expected) const;

  nlohmann::json json_;
  std::string origin_;
};

}  // namespace toller
