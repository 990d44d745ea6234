// Files of sentences that are scored by their similarity.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>

#include "data/collection.h"

namespace toller {

/// Where a line has its parts.
struct PairColumns {
  std::size_t score, first, second;
  std::size_t least_fields, most_fields;
};

struct PairFile {
  std::filesystem::path path;
  PairColumns columns;
  std::string header;  ///< a first line like this is none of the pairs
};

/// A file as the STS benchmark has them.
PairFile sts_benchmark_file(const std::filesystem::path& path);

/// Reads files by split name; errors as of read_scored_pairs.
Collection read_pair_files(const std::map<std::string, PairFile>& files, const ReadWatch& watch);

}  // namespace toller
