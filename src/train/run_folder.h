// The folder of a run: config.json, metrics.jsonl, train.log and the checkpoints. Written by rank 0 alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace toller {

class RunFolder {
 public:
  /// A new run: makes the folder; UsageError when it already holds a run.
  static RunFolder create(const std::filesystem::path& path);
  /// Goes on with a run at `step`: metrics of later steps, left by a run that was killed, are dropped.
  static RunFolder resume(const std::filesystem::path& path, std::int64_t step);

  const std::filesystem::path& path() const { return path_; }

  void write_config(const nlohmann::ordered_json& config) const;
  /// One line of metrics.jsonl, flushed. Error when the disk is full.
  void append_metrics(const nlohmann::ordered_json& line);

 private:
  explicit RunFolder(const std::filesystem::path& path);
  void open_metrics();

  std::filesystem::path path_;
  std::ofstream metrics_;
};

}  // namespace toller
