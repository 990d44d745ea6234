#include "text_lengths.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "error.h"

namespace toller {

std::string text_lengths_file() {
  const char* named = std::getenv("BENCH_LENGTHS");
  return named != nullptr && *named != '\0' ? named : "bench/lengths_32_128.json";
}

TextLengths read_text_lengths(const std::string& file) {
  std::ifstream stream(file);
  if (!stream) {
    fail("{} cannot be read: run this in Toller's folder, or let BENCH_LENGTHS name a file of lengths", file);
  }
  TextLengths lengths;
  try {
    const nlohmann::json json = nlohmann::json::parse(stream);
    json.at("query_lengths").get_to(lengths.query);
    json.at("document_lengths").get_to(lengths.document);
  } catch (const nlohmann::json::exception& problem) {
    fail("{}: {}", file, problem.what());
  }
  const auto possible = [](std::int32_t length) { return length >= 1 && length <= 512; };
  if (lengths.query.empty() || lengths.query.size() != lengths.document.size() ||
      !std::all_of(lengths.query.begin(), lengths.query.end(), possible) ||
      !std::all_of(lengths.document.begin(), lengths.document.end(), possible)) {
    fail("{}: needs as many query_lengths as document_lengths, all in 1 ... 512", file);
  }
  return lengths;
}

}  // namespace toller
