// What readers and writers of checkpoints share: names inside the files, and what is checked on both sides.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "checkpoint/checkpoint.h"
#include "error.h"
#include "io/hdf5_file.h"

namespace toller {

inline constexpr const char* kCheckpointKind = "checkpoint";
inline constexpr const char* kPartKind = "checkpoint_part";
inline constexpr const char* kTokenizerName = "/state/tokenizer";
/// Of a manifest: a JSON list of {"file", "bytes"}.
inline constexpr const char* kPartsAttribute = "parts";
/// Of a manifest and its parts: the same number in all of them.
inline constexpr const char* kIdAttribute = "checkpoint_id";
/// Of a data set in a part: the row of the tensor that its first row is.
inline constexpr const char* kFirstRowAttribute = "first_row";

inline std::string parameter_name(const TensorView& tensor) {
  return "/parameters/" + tensor.name;
}

/// `moment`: "m" or "v".
inline std::string moment_name(const char* moment, const TensorView& tensor) {
  return std::string("/optimizer/") + moment + "/" + tensor.name;
}

/// Throws Error if one of the values is not finite; they are those of the data set from element `first` on.
template <class T>
void check_finite(const std::filesystem::path& path, const std::string& name, std::span<const T> values,
                  std::int64_t first = 0) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      fail("{}: data set {}: element {} is {}", path.string(), name, first + static_cast<std::int64_t>(i),
           values[i]);
    }
  }
}

/// All of a checkpoint but its tensors.
void write_meta(Hdf5Writer& file, const CheckpointMeta& meta, std::int64_t version);

}  // namespace toller
