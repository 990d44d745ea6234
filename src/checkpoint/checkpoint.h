// A model, and all that a run needs to go on, in one HDF5 file or in several (format in docs/formats.md):
//   /parameters/<tensor>          float32 (float64 in a double-precision run), row-major
//   /optimizer/m|v/<tensor>       AdamW's moments, same type (absent in a fused or imported model)
//   /state/tokenizer              uint8
//   attributes: format_version, kind = "checkpoint", step, config (JSON)
// config JSON: {"encoder": {...}, "training": {...} or absent, "state": {...} or absent, "origin": {...},
// "texts": {...} (text/text_form.h) or absent}.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_tensors.h"
#include "io/hdf5_file.h"
#include "model/config.h"
#include "model/parameters.h"
#include "text/text_form.h"

namespace toller {

inline constexpr std::int64_t kCheckpointFormatVersion = 1;
/// Of checkpoints with parts, or with several checksums of a tensor.
inline constexpr std::int64_t kShardedFormatVersion = 2;

struct CheckpointMeta {
  EncoderConfig encoder;
  nlohmann::json training;  ///< the run's options as given (null: not from a run)
  nlohmann::json state;     ///< sampler position and the like (null: cannot be resumed)
  nlohmann::json origin;    ///< how it came to be: init, fuse method and sources, history
  std::int64_t step = 0;
  std::string tokenizer;  ///< serialised, see Tokenizer::from_bytes
  TextForm form;          ///< prompts and lengths that the model expects
};

/// What to call tensors of a file that are not called as the model's: `from` and `to` are names, or, both
/// ending in '*', beginnings of names ("bert.*" and "*"). A name that the model has is left as it is.
struct TensorRename {
  std::string from;
  std::string to;
};

/// Opens a checkpoint and checks the format version, the config and the table of tensors (names and shapes
/// must be those of ParameterTable(config)). Tensors are read one by one, checksums verified, values finite.
/// Whether the tensors lie in parts makes no difference.
class CheckpointReader {
 public:
  explicit CheckpointReader(const std::filesystem::path& path, const std::vector<TensorRename>& renames = {});

  const std::filesystem::path& path() const { return stored_.main().path(); }
  const CheckpointMeta& meta() const { return meta_; }
  const ParameterTable& table() const { return table_; }
  bool has_optimizer() const { return has_optimizer_; }
  /// Whether a tensor of the file has another name than the table's because of renames[index].
  bool applies(std::size_t index) const { return applied_renames_.contains(index); }
  /// Type of the stored parameters: kFloat32 or kFloat64.
  ElementType type() const { return type_; }

  template <class T>
  void read_tensor(const TensorView& tensor, std::span<T> out) const;
  /// Elements [first, first + out.size()) of a tensor, whole rows. Nothing is verified: verify_tensor() is
  /// for that.
  template <class T>
  void read_rows(const TensorView& tensor, std::int64_t first, std::span<T> out) const;
  /// Reads a tensor piece by piece: Error if its checksum is wrong or a value is not finite.
  void verify_tensor(const TensorView& tensor) const;
  /// The whole flat buffer, size table().size().
  template <class T>
  void read_parameters(std::span<T> out) const;
  template <class T>
  void read_moments(std::span<T> m, std::span<T> v) const;

 private:
  /// The name of a tensor's data set in one of the groups.
  std::string dataset_name(const std::string& group, const TensorView& tensor) const;
  void find_names(const std::vector<TensorRename>& renames);
  ElementType check_tensors(const std::string& group) const;

  CheckpointTensors stored_;
  CheckpointMeta meta_;
  ParameterTable table_;
  ElementType type_ = ElementType::kFloat32;
  bool has_optimizer_ = false;
  std::map<std::string, std::string> stored_names_;  ///< in the file, by the table's names
  std::set<std::size_t> applied_renames_;
};

/// Writes a model tensor by tensor, finite values only; the file appears under `path` at commit() (temporary
/// name, fsync, rename).
class CheckpointWriter {
 public:
  CheckpointWriter(const std::filesystem::path& path, const CheckpointMeta& meta);
  /// A tensor in pieces of whole rows, in order: `first` is the place of the piece's first element; 0 begins
  /// the tensor, which must be complete before anything else is written.
  template <class T>
  void write_rows(const TensorView& tensor, std::int64_t first, std::span<const T> rows);
  void commit();

 private:
  Hdf5Writer file_;
};

/// A whole checkpoint from flat buffers (m and v both empty: no optimiser state).
template <class T>
void write_checkpoint(const std::filesystem::path& path, const CheckpointMeta& meta,
                      const ParameterTable& table, std::span<const T> parameters, std::span<const T> m,
                      std::span<const T> v);

/// Resolves what a user types for a model: a checkpoint file; a run folder (the file its `last` points to);
/// Error otherwise.
std::filesystem::path resolve_checkpoint(const std::filesystem::path& path);

}  // namespace toller
