// Token stores and checkpoints with one thing wrong: a copy in which values change while the checksums stay
// right, so that only the checks behind the checksums can find them; and raw damage, that the checksums must
// find.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace toller {

struct Hdf5Edit {
  std::map<std::string, std::function<void(std::vector<std::int32_t>&)>> int32 =
      {};  ///< by data set, as "/a/b"
  std::map<std::string, std::function<void(std::vector<std::int64_t>&)>> int64 = {};
  std::map<std::string, std::function<void(std::vector<float>&)>> float32 = {};
  std::map<std::string, std::int64_t> attributes = {};  ///< integers to replace
  std::function<std::string(std::string)> config = {};  ///< new value of the attribute "config"
  std::set<std::string> left_out = {};                  ///< data sets to leave out
};

void copy_hdf5(const std::filesystem::path& from, const std::filesystem::path& to, const Hdf5Edit& edit);

/// Flips one bit of the first stored value of a data set.
void flip_bit(const std::filesystem::path& file, const std::string& data_set);

/// Whether every data set of a file can be read and has the checksum that it was written with.
bool is_whole(const std::filesystem::path& file);

}  // namespace toller
