// The checkpoints in the folder of a run: step-<step>.h5, eight digits or more, their parts where they have
// any (step-<step>.rank-<rank>-of-<ranks>.h5), and `last`, a symbolic link to the newest.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace toller {

/// RUN/step-00000042.h5 for step 42.
std::filesystem::path checkpoint_path(const std::filesystem::path& run, std::int64_t step);

struct RunCheckpoint {
  std::int64_t step = 0;
  std::filesystem::path path;
};

/// Whether the file has the name of a part, which its manifest stands for.
bool is_checkpoint_part(const std::filesystem::path& path);

/// In the order of their steps. Throws Error if the folder cannot be read.
std::vector<RunCheckpoint> list_checkpoints(const std::filesystem::path& run);

/// Makes RUN/last a link to `file`, which lies in RUN; atomic: `last` is the old or the new link, at any
/// time.
void publish_last(const std::filesystem::path& run, const std::filesystem::path& file);

/// Removes all checkpoints but the newest `keep`, step 0 (the base of fusions, not counted) and the one
/// `last` points to. Temporary files and parts without a manifest, which a killed process left, go too; so
/// nobody may be writing a checkpoint into the run meanwhile.
void remove_old_checkpoints(const std::filesystem::path& run, std::int64_t keep);

/// The newest checkpoint that training can go on from: whole, all checksums right, with optimiser state. The
/// reasons why newer ones are not are appended to `skipped`. Throws Error if there is none.
std::filesystem::path newest_valid_checkpoint(const std::filesystem::path& run,
                                              std::vector<std::string>& skipped);

}  // namespace toller
