#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "checkpoint/checkpoint_format.h"
#include "checkpoint/checkpoint_output.h"
#include "error.h"

namespace toller {
namespace {

constexpr const char* kParameters = "/parameters";

/// An error unless it is a checkpoint in a format that is known.
Hdf5Reader open_checkpoint(const std::filesystem::path& path) {
  Hdf5Reader file(path);
  if (!file.has_attribute("kind"))
    fail("{}: has no attribute kind: not a Toller checkpoint", file.path().string());
  const std::string kind = file.attribute_string("kind");
  if (kind != kCheckpointKind) fail("{}: is a {}, expected a checkpoint", file.path().string(), kind);
  const std::int64_t version = file.attribute_int("format_version");
  if (version != kCheckpointFormatVersion && version != kShardedFormatVersion) {
    fail("{}: has checkpoint format {}, this version of Toller reads {} and {}", file.path().string(),
         version, kCheckpointFormatVersion, kShardedFormatVersion);
  }
  return file;
}

/// A config may ask for any number of tensors of any size; the files must be able to hold them before a table
/// is made of it.
void check_sizes(const CheckpointTensors& stored, const EncoderConfig& config) {
  const std::string path = stored.main().path().string();
  const auto tensors = stored.list(kParameters).size();
  if (static_cast<std::size_t>(config.layers) > tensors) {
    fail("{}: config says {} layers, but /parameters has {} tensors", path, config.layers, tensors);
  }
  const std::int64_t rows =
      std::max({config.vocabulary_size, config.max_positions, config.type_vocabulary_size, config.hidden_size,
                config.intermediate_size});
  if (rows * config.hidden_size > stored.bytes()) {
    fail("{}: config needs a tensor of {} x {}, more than the file of {} bytes holds", path, rows,
         config.hidden_size, stored.bytes());
  }
}

CheckpointMeta read_meta(const CheckpointTensors& stored) {
  const Hdf5Reader& file = stored.main();
  const std::string name = file.path().string();
  CheckpointMeta meta;
  meta.step = file.attribute_int("step");
  if (meta.step < 0) fail("{}: attribute step is {}", name, meta.step);
  const std::string text = file.attribute_string("config");
  const nlohmann::json config = nlohmann::json::parse(text, nullptr, false);
  if (!config.is_object()) fail("{}: attribute config is not a JSON object", name);
  const auto encoder = config.find("encoder");
  if (encoder == config.end()) fail("{}: attribute config lacks the field encoder", name);
  meta.encoder = encoder_config_from_json(*encoder, name);
  meta.training = config.value("training", nlohmann::json());
  meta.state = config.value("state", nlohmann::json());
  meta.origin = config.value("origin", nlohmann::json());
  if (const auto texts = config.find("texts"); texts != config.end()) {
    meta.form = text_form_from_json(*texts, name + ": attribute config: texts");
  }
  meta.tokenizer = file.read_string(kTokenizerName);
  check_sizes(stored, meta.encoder);
  return meta;
}

/// `name` with `from` exchanged for `to`; nothing if the rename is not about it.
std::optional<std::string> renamed(const std::string& name, const TensorRename& rename) {
  if (!rename.from.ends_with('*')) return name == rename.from ? std::optional(rename.to) : std::nullopt;
  const std::string_view beginning(rename.from.data(), rename.from.size() - 1);
  if (!name.starts_with(beginning)) return std::nullopt;
  return rename.to.substr(0, rename.to.size() - 1) + name.substr(beginning.size());
}

nlohmann::json config_json(const CheckpointMeta& meta) {
  nlohmann::json config = {{"encoder", to_json(meta.encoder)}, {"origin", meta.origin}};
  if (!meta.training.is_null()) config["training"] = meta.training;
  if (!meta.state.is_null()) config["state"] = meta.state;
  if (meta.form != TextForm{}) config["texts"] = to_json(meta.form);
  return config;
}

}  // namespace

CheckpointReader::CheckpointReader(const std::filesystem::path& path,
                                   const std::vector<TensorRename>& renames)
    : stored_(open_checkpoint(path)), meta_(read_meta(stored_)), table_(meta_.encoder) {
  find_names(renames);
  type_ = check_tensors(kParameters);
  has_optimizer_ = stored_.has("/optimizer");
  if (!has_optimizer_) return;
  check_tensors("/optimizer/m");
  check_tensors("/optimizer/v");
}

void CheckpointReader::find_names(const std::vector<TensorRename>& renames) {
  std::set<std::string> known;
  for (const TensorView& tensor : table_.tensors()) known.insert(tensor.name);
  for (const std::string& stored : stored_.list(kParameters)) {
    std::string name = stored;
    for (std::size_t index = 0; index < renames.size() && !known.contains(stored); ++index) {
      const auto other = renamed(stored, renames[index]);
      if (!other) continue;
      name = *other;
      applied_renames_.insert(index);
      break;
    }
    const auto [place, is_new] = stored_names_.emplace(name, stored);
    if (!is_new) {
      fail("{}: data sets {}/{} and {}/{} cannot both be tensor {}", path().string(), kParameters,
           place->second, kParameters, stored, name);
    }
  }
}

std::string CheckpointReader::dataset_name(const std::string& group, const TensorView& tensor) const {
  const auto found = stored_names_.find(tensor.name);
  return group + '/' + (found == stored_names_.end() ? tensor.name : found->second);
}

/// The members of a group must be the table's tensors, with their shapes and one float type, which is
/// returned.
ElementType CheckpointReader::check_tensors(const std::string& group) const {
  const std::string file = path().string();
  std::vector<std::string> unknown = stored_.list(group);
  for (const TensorView& tensor : table_.tensors()) {
    std::erase(unknown, dataset_name(group, tensor).substr(group.size() + 1));
  }
  ElementType type = ElementType::kOther;
  for (const TensorView& tensor : table_.tensors()) {
    const std::string name = dataset_name(group, tensor);
    if (!unknown.empty() && !stored_.has(name)) {
      fail("{}: data set {}: is missing, and {}/{} is no tensor of this model; `toller fuse --map` renames",
           file, name, group, unknown.front());
    }
    const DatasetInfo info = stored_.info(name);
    if (info.shape != tensor.shape) {
      fail("{}: data set {}: expected shape [{}], found [{}]", file, name, fmt::join(tensor.shape, ", "),
           fmt::join(info.shape, ", "));
    }
    if (info.type != ElementType::kFloat32 && info.type != ElementType::kFloat64) {
      fail("{}: data set {}: expected float32 or float64, found {}", file, name, element_name(info.type));
    }
    if (type == ElementType::kOther) type = info.type;
    if (info.type != type) {
      fail("{}: data set {}: is {}, the tensors before it are {}", file, name, element_name(info.type),
           element_name(type));
    }
  }
  if (!unknown.empty()) fail("{}: data set {}/{} is no tensor of this model", file, group, unknown.front());
  return type;
}

template <class T>
void CheckpointReader::read_tensor(const TensorView& tensor, std::span<T> out) const {
  const std::string name = dataset_name(kParameters, tensor);
  stored_.read_into(name, out);
  check_finite<T>(path(), name, out);
}

template <class T>
void CheckpointReader::read_rows(const TensorView& tensor, std::int64_t first, std::span<T> out) const {
  stored_.read_slice(dataset_name(kParameters, tensor), first, out);
}

void CheckpointReader::verify_tensor(const TensorView& tensor) const {
  const std::string name = dataset_name(kParameters, tensor);
  const auto verify = [&]<class T>(T) {
    stored_.read_in_pieces<T>(name, [&](std::span<const T> piece, std::int64_t first) {
      check_finite(path(), name, piece, first);
    });
  };
  type_ == ElementType::kFloat64 ? verify(double{}) : verify(float{});
}

template <class T>
void CheckpointReader::read_parameters(std::span<T> out) const {
  if (out.size() != static_cast<std::size_t>(table_.size())) {
    fail("{}: holds {} parameters, the buffer {}", path().string(), table_.size(), out.size());
  }
  for (const TensorView& tensor : table_.tensors()) {
    read_tensor(tensor,
                out.subspan(static_cast<std::size_t>(tensor.offset), static_cast<std::size_t>(tensor.size)));
  }
}

template <class T>
void CheckpointReader::read_moments(std::span<T> m, std::span<T> v) const {
  if (!has_optimizer_) fail("{}: holds no optimiser state", path().string());
  const auto size = static_cast<std::size_t>(table_.size());
  if (m.size() != size || v.size() != size) {
    fail("{}: holds {} moments, the buffers {} and {}", path().string(), size, m.size(), v.size());
  }
  for (const TensorView& tensor : table_.tensors()) {
    for (const auto& [moment, out] : {std::pair{"m", m}, std::pair{"v", v}}) {
      const std::string name = dataset_name(std::string("/optimizer/") + moment, tensor);
      const auto slice =
          out.subspan(static_cast<std::size_t>(tensor.offset), static_cast<std::size_t>(tensor.size));
      stored_.read_into(name, slice);
      check_finite<T>(path(), name, slice);
    }
  }
}

void write_meta(Hdf5Writer& file, const CheckpointMeta& meta, std::int64_t version) {
  file.attribute_int("format_version", version);
  file.attribute_string("kind", kCheckpointKind);
  file.attribute_int("step", meta.step);
  // Text from outside (a file's name) may not be UTF-8, which JSON must be: it is marked, not refused.
  file.attribute_string("config",
                        config_json(meta).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  file.write_string(kTokenizerName, meta.tokenizer, true);
}

CheckpointWriter::CheckpointWriter(const std::filesystem::path& path, const CheckpointMeta& meta)
    : file_(path) {
  write_meta(file_, meta, kCheckpointFormatVersion);
}

template <class T>
void CheckpointWriter::write_rows(const TensorView& tensor, std::int64_t first, std::span<const T> rows) {
  const std::string name = parameter_name(tensor);
  check_finite(file_.path(), name, rows, first);
  if (first == 0) {
    file_.begin(name, std::is_same_v<T, double> ? ElementType::kFloat64 : ElementType::kFloat32,
                tensor.shape);
  }
  file_.append(rows);
}

void CheckpointWriter::commit() {
  file_.commit();
}

template <class T>
void write_checkpoint(const std::filesystem::path& path, const CheckpointMeta& meta,
                      const ParameterTable& table, std::span<const T> parameters, std::span<const T> m,
                      std::span<const T> v) {
  const auto size = static_cast<std::size_t>(table.size());
  const bool with_moments = !m.empty() || !v.empty();
  if (parameters.size() != size || (with_moments && (m.size() != size || v.size() != size))) {
    fail("{}: cannot write: buffers of {}, {} and {} for {} parameters", path.string(), parameters.size(),
         m.size(), v.size(), size);
  }
  const ParameterShards whole(table, {0, table.size()}, 1);
  SelfCommunicator self;
  CheckpointOutput<T> output(path, meta, table, whole, CheckpointLayout::kOneFile, self, with_moments);
  output.write(parameters, m, v);
  output.commit();
}

std::filesystem::path resolve_checkpoint(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) fail("{}: there is no such file or folder", path.string());
  if (!fs::is_directory(status)) return path;
  const fs::path last = path / "last";
  if (!fs::exists(fs::symlink_status(last, error))) {
    fail("{}: is a folder without 'last'; give a checkpoint or the folder of a run", path.string());
  }
  const fs::path target = fs::is_symlink(last) ? path / fs::read_symlink(last) : last;
  if (!fs::is_regular_file(fs::status(target, error))) {
    fail("{}: leads to {}, which is not a file; give one of the run's step-*.h5", last.string(),
         target.string());
  }
  return target;
}

#define TOLLER_INSTANTIATE(T)                                                                         \
  template void CheckpointReader::read_tensor<T>(const TensorView&, std::span<T>) const;              \
  template void CheckpointReader::read_rows<T>(const TensorView&, std::int64_t, std::span<T>) const;  \
  template void CheckpointReader::read_parameters<T>(std::span<T>) const;                             \
  template void CheckpointReader::read_moments<T>(std::span<T>, std::span<T>) const;                  \
  template void CheckpointWriter::write_rows<T>(const TensorView&, std::int64_t, std::span<const T>); \
  template void write_checkpoint<T>(const std::filesystem::path&, const CheckpointMeta&,              \
                                    const ParameterTable&, std::span<const T>, std::span<const T>,    \
                                    std::span<const T>);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
