#include "train/run_folder.h"

#include <cerrno>
#include <cstring>
#include <vector>

#include "error.h"

namespace toller {
namespace fs = std::filesystem;

RunFolder::RunFolder(const fs::path& path) : path_(path) {}

RunFolder RunFolder::create(const fs::path& path) {
  std::error_code problem;
  if (fs::exists(path / "config.json", problem)) {
    fail_usage("--out {}: already holds a run; continue it with --resume {} or choose another folder",
               path.string(), path.string());
  }
  fs::create_directories(path, problem);
  if (problem) fail("{}: cannot make the run folder: {}", path.string(), problem.message());
  RunFolder folder(path);
  folder.open_metrics();
  return folder;
}

RunFolder RunFolder::resume(const fs::path& path, std::int64_t step) {
  RunFolder folder(path);
  std::vector<std::string> lines;
  {
    std::ifstream in(path / "metrics.jsonl");
    for (std::string line; std::getline(in, line);) {
      const auto json = nlohmann::json::parse(line, nullptr, false);
      // A line that a killed run left half written does not parse.
      if (json.is_object() && json.value("step", step + 1) <= step) lines.push_back(line);
    }
  }
  const fs::path temporary = path / ".metrics.jsonl.tmp";
  {
    std::ofstream out(temporary);
    for (const std::string& line : lines) out << line << '\n';
    out.close();
    if (!out) fail("{}: cannot be written: {}", temporary.string(), std::strerror(errno));
  }
  fs::rename(temporary, path / "metrics.jsonl");
  folder.open_metrics();
  return folder;
}

void RunFolder::open_metrics() {
  metrics_.open(path_ / "metrics.jsonl", std::ios::app);
  if (!metrics_) fail("{}: cannot be written: {}", (path_ / "metrics.jsonl").string(), std::strerror(errno));
}

void RunFolder::write_config(const nlohmann::ordered_json& config) const {
  const fs::path temporary = path_ / ".config.json.tmp";
  std::ofstream out(temporary);
  out << config.dump(2) << '\n';
  out.close();
  if (!out) fail("{}: cannot be written: {}", temporary.string(), std::strerror(errno));
  fs::rename(temporary, path_ / "config.json");
}

void RunFolder::append_metrics(const nlohmann::ordered_json& line) {
  metrics_ << line.dump() << '\n' << std::flush;
  if (!metrics_) fail("{}: cannot be written: {}", (path_ / "metrics.jsonl").string(), std::strerror(errno));
}

}  // namespace toller
