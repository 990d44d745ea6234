#include "checkpoint/run_checkpoints.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "checkpoint/checkpoint.h"
#include "error.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step-";
constexpr std::string_view kSuffix = ".h5";
constexpr std::string_view kPartMark = ".rank-";

/// The step in the name of a checkpoint or of a part of one, if it is that; `is_part` says which is wanted.
std::optional<std::int64_t> step_of(std::string_view name, bool is_part = false) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
  name = name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
  const std::size_t mark = name.find(kPartMark);
  if ((mark != std::string_view::npos) != is_part) return std::nullopt;
  name = name.substr(0, mark);
  if (name.size() < 8) return std::nullopt;
  if (!std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; })) return std::nullopt;
  std::int64_t step = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
  return error == std::errc() ? std::optional(step) : std::nullopt;
}

/// Names of a folder's entries.
std::vector<std::string> entries(const fs::path& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error) fail("{}: cannot list the folder: {}", folder.string(), error.message());
  return names;
}

void remove_file(const fs::path& path) {
  std::error_code error;
  fs::remove(path, error);
  if (error) fail("{}: cannot remove: {}", path.string(), error.message());
}

/// Reads all there is of a checkpoint; throws Error if training cannot go on from it.
void check_resumable(const RunCheckpoint& checkpoint) {
  const CheckpointReader reader(checkpoint.path);
  if (reader.meta().step != checkpoint.step) {
    fail("{}: attribute step is {}", checkpoint.path.string(), reader.meta().step);
  }
  if (!reader.has_optimizer()) fail("{}: holds no optimiser state", checkpoint.path.string());
  const auto check_all = [&]<class T>(T) {
    std::vector<T> first(static_cast<std::size_t>(reader.table().size()));
    reader.read_parameters(std::span<T>(first));
    std::vector<T> second(first.size());
    reader.read_moments(std::span<T>(first), std::span<T>(second));
  };
  if (reader.type() == ElementType::kFloat64) {
    check_all(double{});
  } else {
    check_all(float{});
  }
}

}  // namespace

fs::path checkpoint_path(const fs::path& run, std::int64_t step) {
  return run / fmt::format("{}{:08}{}", kPrefix, step, kSuffix);
}

bool is_checkpoint_part(const fs::path& path) {
  return step_of(path.filename().string(), true).has_value();
}

std::vector<RunCheckpoint> list_checkpoints(const fs::path& run) {
  std::vector<RunCheckpoint> found;
  for (const std::string& name : entries(run)) {
    if (const auto step = step_of(name)) found.push_back({*step, run / name});
  }
  std::ranges::sort(found, {}, &RunCheckpoint::step);
  return found;
}

void publish_last(const fs::path& run, const fs::path& file) {
  const fs::path last = run / "last";
  const fs::path temporary = run / fmt::format(".last.tmp-{}", ::getpid());
  ::unlink(temporary.c_str());
  if (::symlink(file.filename().c_str(), temporary.c_str()) != 0 ||
      ::rename(temporary.c_str(), last.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary.c_str());
    fail("{}: cannot make it a link to {}: {}", last.string(), file.filename().string(),
         std::strerror(error));
  }
  const int folder = ::open(run.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) fail("{}: cannot sync: {}", run.string(), std::strerror(errno));
  ::fsync(folder);  // not all file systems can sync a folder, and a lost link loses no checkpoint
  ::close(folder);
}

void remove_old_checkpoints(const fs::path& run, std::int64_t keep) {
  std::vector<RunCheckpoint> checkpoints = list_checkpoints(run);
  std::erase_if(checkpoints, [](const RunCheckpoint& checkpoint) { return checkpoint.step == 0; });
  std::error_code no_link;
  const fs::path last = fs::read_symlink(run / "last", no_link).filename();
  const auto count = static_cast<std::int64_t>(checkpoints.size());
  for (std::int64_t index = 0; index < count - std::max<std::int64_t>(0, keep); ++index) {
    const fs::path& path = checkpoints[static_cast<std::size_t>(index)].path;
    if (path.filename() != last) remove_file(path);
  }
  for (const std::string& name : entries(run)) {
    const bool temporary = name.find(fmt::format("{}.tmp-", kSuffix)) != std::string::npos;
    if (temporary && name.starts_with(fmt::format(".{}", kPrefix))) remove_file(run / name);
    // Parts go after their manifest, so that no manifest is ever without its parts.
    const auto step = step_of(name, true);
    if (step && !fs::exists(checkpoint_path(run, *step))) remove_file(run / name);
  }
}

fs::path newest_valid_checkpoint(const fs::path& run, std::vector<std::string>& skipped) {
  std::vector<RunCheckpoint> checkpoints = list_checkpoints(run);
  if (checkpoints.empty()) fail("{}: has no checkpoint (step-*.h5)", run.string());
  std::ranges::reverse(checkpoints);
  for (const RunCheckpoint& checkpoint : checkpoints) {
    try {
      check_resumable(checkpoint);
      return checkpoint.path;
    } catch (const Error& error) {
      skipped.emplace_back(error.what());
    }
  }
  fail("{}: none of its checkpoints is valid: {}", run.string(), fmt::join(skipped, "; "));
}

}  // namespace toller
