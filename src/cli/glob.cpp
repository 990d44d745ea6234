#include "cli/glob.h"

#include <fnmatch.h>

#include <algorithm>

#include "error.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

bool is_pattern(const std::string& text) {
  return text.find_first_of("*?[") != text.npos;
}

/// Entries of a folder; none if it cannot be read.
std::vector<fs::directory_entry> entries_of(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::directory_entry> entries;
  fs::directory_iterator entry(folder.empty() ? "." : folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) entries.push_back(*entry);
  return entries;
}

/// `folder` and all folders below it.
void add_folders(const fs::path& folder, std::vector<fs::path>& folders) {
  folders.push_back(folder);
  for (const fs::directory_entry& entry : entries_of(folder)) {
    std::error_code error;
    const std::string name = entry.path().filename().string();
    if (entry.symlink_status(error).type() == fs::file_type::directory && !name.starts_with('.')) {
      add_folders(folder / name, folders);
    }
  }
}

/// What matches one name of a pattern in a folder.
void add_matches(const fs::path& folder, const std::string& name, std::vector<fs::path>& matches) {
  if (name == "**") return add_folders(folder, matches);
  std::error_code error;
  if (!is_pattern(name)) {
    if (fs::exists(fs::symlink_status(folder / name, error))) matches.push_back(folder / name);
    return;
  }
  for (const fs::directory_entry& entry : entries_of(folder)) {
    const std::string found = entry.path().filename().string();
    if (::fnmatch(name.c_str(), found.c_str(), FNM_PERIOD) == 0) matches.push_back(folder / found);
  }
}

}  // namespace

std::vector<fs::path> expand_pattern(const std::string& pattern) {
  std::error_code error;
  if (!is_pattern(pattern) || fs::exists(fs::symlink_status(pattern, error))) return {pattern};
  const fs::path path(pattern);
  std::vector<fs::path> found = {path.root_path()};
  for (const fs::path& name : path.relative_path()) {
    std::vector<fs::path> next;
    for (const fs::path& folder : found) add_matches(folder, name.string(), next);
    found = std::move(next);
  }
  std::ranges::sort(found);
  const auto repeated = std::ranges::unique(found);  // "**" twice reaches a folder on several ways
  found.erase(repeated.begin(), repeated.end());
  std::erase(found, fs::path());
  if (found.empty()) fail("{}: nothing matches this pattern", pattern);
  return found;
}

}  // namespace toller
