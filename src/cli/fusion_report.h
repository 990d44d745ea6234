// What `toller fuse` tells: a fusion in words, a search as a table, as JSON and as a picture.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/fusion.h"
#include "checkpoint/fusion_search.h"

namespace toller {

void print_fusion(const FusionSummary& summary, const FusionOptions& options,
                  const std::vector<std::filesystem::path>& checkpoints, const std::filesystem::path& out);

/// Each checkpoint and each fusion side by side, the best marked.
void print_search(const FusionSearch& search, const FusionSearchTask& task);

/// `ingredients`, `fusions` and `best`.
nlohmann::ordered_json search_json(const FusionSearch& search, const FusionSearchTask& task);

/// The score of each checkpoint and each fusion as a dot in a row, the best in another colour: an SVG file's
/// text.
std::string search_picture(const FusionSearch& search, const FusionSearchTask& task,
                           const std::string& title);

}  // namespace toller
