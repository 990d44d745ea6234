// The files that the bad-input cases are given: one good collection, token store and run, and many that have
// one thing wrong with them.
#pragma once

#include "cli/scratch_folder.h"

namespace toller {

/// Fills `folder`. Names say what is wrong: collections are folders (good, broken-json, …), stores and
/// checkpoints are .h5 files; `run` is a finished run of one step.
void make_broken_files(const ScratchFolder& folder);

}  // namespace toller
