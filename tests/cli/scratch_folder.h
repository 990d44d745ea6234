// Folders and commands of the tests that run the built program.
#pragma once

#include <chrono>
#include <filesystem>
#include <set>
#include <string>

namespace toller {

/// A fresh folder under the temporary folder, removed at the end.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void write(const std::string& name, const std::string& content) const;
  /// Names of all regular files below the folder, relative to it.
  std::set<std::string> files() const;

 private:
  std::filesystem::path path_;
};

struct CommandResult {
  int status = 0;      ///< exit status; 124 if it was stopped after `limit`, 128 + n if signal n ended it
  std::string output;  ///< both streams
  double seconds = 0;
};

/// Runs a shell command in `folder`, with the folder of the built `toller` first in PATH, one thread a
/// process, and mpirun as containers need it.
CommandResult run_command(const std::string& command, const std::filesystem::path& folder,
                          std::chrono::seconds limit);

}  // namespace toller
