// The tensors of a checkpoint, in one file or in several: then its manifest, the file that stands for all,
// lists the parts, files beside it, each with some rows of some tensors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "io/hdf5_file.h"

namespace toller {

struct CheckpointPart {
  std::string file;  ///< its name; it lies in the folder of the manifest
  std::int64_t bytes = 0;
};

/// step-00000042.rank-00003-of-00004.h5 for the manifest step-00000042.h5, in its folder.
std::filesystem::path checkpoint_part_path(const std::filesystem::path& manifest, int rank, int ranks);

/// The parts that a manifest lists; none: the file is a whole checkpoint. Throws Error unless they are plain
/// names of files.
std::vector<CheckpointPart> list_parts(const Hdf5Reader& manifest);

/// Reads tensors as if they were in one file: where a method has the name of one of Hdf5Reader, it does the
/// same. Errors name the file that is wrong.
class CheckpointTensors {
 public:
  /// `main`: a checkpoint or a manifest; opens all parts. Each must be there, of the size that the manifest
  /// says, and of this checkpoint; their rows must follow one another without gaps.
  explicit CheckpointTensors(Hdf5Reader main);

  const Hdf5Reader& main() const { return files_.front(); }
  /// Of all files.
  std::int64_t bytes() const { return bytes_; }

  /// Of a group: whether there is a tensor in it.
  bool has(const std::string& name) const;
  std::vector<std::string> list(const std::string& group) const;
  DatasetInfo info(const std::string& name) const;
  template <class T>
  void read_into(const std::string& name, std::span<T> out) const;
  template <class T>
  void read_slice(const std::string& name, std::int64_t first, std::span<T> out) const;
  template <class T>
  void read_in_pieces(const std::string& name,
                      const std::function<void(std::span<const T>, std::int64_t)>& take) const;

 private:
  /// Some rows of a data set.
  struct Piece {
    std::size_t file = 0;  ///< index into files_
    std::int64_t row = 0;  ///< the first one
    std::int64_t first = 0;
    DatasetInfo info;
  };

  void open_part(const CheckpointPart& part);
  void add_pieces(std::size_t file, const std::string& group);
  void join_pieces(const std::string& name, std::vector<Piece>& pieces) const;
  const std::vector<Piece>& pieces_of(const std::string& name) const;

  std::vector<Hdf5Reader> files_;  ///< the main file, then the parts
  std::int64_t bytes_ = 0;
  std::map<std::string, std::vector<Piece>> pieces_;  ///< by the name of the data set, in order
};

}  // namespace toller
