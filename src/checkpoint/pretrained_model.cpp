#include "checkpoint/pretrained_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>

#include "choice.h"
#include "error.h"
#include "io/strict_json.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

/// Of the checkpoint alone: it belongs to the loss.
constexpr const char* kLogTemperature = "loss.log_temperature";
/// Elements that are read at a time, about.
constexpr std::int64_t kPiece = 1 << 20;

constexpr std::array<std::pair<SafetensorsType, const char*>, 3> kExportTypes = {
    {{SafetensorsType::kFloat32, "fp32"},
     {SafetensorsType::kBFloat16, "bf16"},
     {SafetensorsType::kFloat16, "fp16"}}};

fs::path weights_of(const fs::path& folder) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"}) {
    if (is_there(folder / name)) return folder / name;
  }
  const bool has_pickle =
      is_there(folder / "pytorch_model.bin") || is_there(folder / "pytorch_model.bin.index.json");
  fail("{}: has no model.safetensors{}", folder.string(),
       has_pickle ? "; pytorch_model.bin can hold code and is not read: transformers' save_pretrained() "
                    "writes safetensors"
                  : "");
}

/// What the table would call a tensor of the file.
std::string model_name(std::string name) {
  constexpr std::string_view kPrefix = "bert.";
  if (name.starts_with(kPrefix)) name.erase(0, kPrefix.size());
  for (const auto& [old, now] :
       {std::pair("LayerNorm.gamma", "LayerNorm.weight"), std::pair("LayerNorm.beta", "LayerNorm.bias")}) {
    if (name.ends_with(old)) name.replace(name.size() - std::string_view(old).size(), std::string::npos, now);
  }
  return name;
}

/// Heads that embeddings do not go through, and tables of 0, 1, 2, … that old versions wrote.
bool is_beside_the_encoder(const std::string& name) {
  return name.starts_with("pooler.") || name.starts_with("cls.") || name == "embeddings.position_ids" ||
         name == "embeddings.token_type_ids";
}

/// The names of the file's tensors by the table's; those that are not used go to `unused`.
std::map<std::string, std::string> match_tensors(const SafetensorsReader& weights,
                                                 const ParameterTable& table,
                                                 std::vector<std::string>& unused) {
  std::map<std::string, std::string> stored;
  for (const TensorView& tensor : table.tensors()) {
    if (tensor.name != kLogTemperature) stored[tensor.name] = "";
  }
  for (const auto& [name, info] : weights.tensors()) {
    const auto place = stored.find(model_name(name));
    if (place == stored.end()) {
      if (!is_beside_the_encoder(model_name(name))) {
        fail("{}: is no tensor of this encoder", weights.label(name));
      }
      unused.push_back(name);
      continue;
    }
    if (!place->second.empty()) {
      fail("{}: and {} cannot both be {}", weights.label(name), place->second, place->first);
    }
    place->second = name;
  }
  for (const TensorView& tensor : table.tensors()) {
    if (tensor.name == kLogTemperature) continue;
    const std::string& name = stored[tensor.name];
    if (name.empty()) fail("{}: tensor {} is missing", weights.files().front().string(), tensor.name);
    const std::vector<std::int64_t>& shape = weights.info(name).shape;
    if (shape != tensor.shape) {
      fail("{}: has shape [{}], but config.json makes it [{}]", weights.label(name), fmt::join(shape, ", "),
           fmt::join(tensor.shape, ", "));
    }
  }
  return stored;
}

/// A tensor in pieces of whole rows.
void copy_tensor(const SafetensorsReader& weights, const std::string& name, const TensorView& tensor,
                 CheckpointWriter& out) {
  const std::int64_t row = tensor.size / tensor.shape.front();
  const std::int64_t piece = std::max<std::int64_t>(1, kPiece / row) * row;
  std::vector<float> values;
  for (std::int64_t first = 0; first < tensor.size; first += piece) {
    values.resize(static_cast<std::size_t>(std::min(piece, tensor.size - first)));
    weights.read(name, first, std::span(values));
    const auto bad = std::ranges::find_if(values, [](float value) { return !std::isfinite(value); });
    if (bad != values.end()) {
      fail("{}: element {} is {}", weights.label(name), first + (bad - values.begin()), *bad);
    }
    out.write_rows(tensor, first, std::span<const float>(values));
  }
}

std::string dtype_name(SafetensorsType type) {
  return type == SafetensorsType::kFloat32   ? "float32"
         : type == SafetensorsType::kFloat16 ? "float16"
                                             : "bfloat16";
}

void write_weights(const CheckpointReader& model, SafetensorsType type, const fs::path& path) {
  std::vector<SafetensorsEntry> entries;
  for (const TensorView& tensor : model.table().tensors()) {
    if (tensor.name != kLogTemperature) entries.push_back({tensor.name, tensor.shape});
  }
  SafetensorsWriter out(path, type, std::move(entries));
  std::vector<float> values;
  for (const TensorView& tensor : model.table().tensors()) {
    if (tensor.name == kLogTemperature) continue;
    values.resize(static_cast<std::size_t>(tensor.size));
    model.read_tensor(tensor, std::span(values));
    out.append(values);
  }
  out.close();
}

}  // namespace

ImportReport import_pretrained(const fs::path& folder, const PoolingChoice& choice, const fs::path& out) {
  PretrainedFolder found = read_pretrained_folder(folder, choice);
  const SafetensorsReader weights(weights_of(found.transformer));
  // A config may ask for any number of layers; the file must have tensors for them before a table is made.
  if (static_cast<std::size_t>(found.encoder.layers) > weights.tensors().size()) {
    fail("{}: {} layers, but the weights have {} tensors", (found.transformer / "config.json").string(),
         found.encoder.layers, weights.tensors().size());
  }
  ParameterTable table(found.encoder);
  std::vector<std::string> unused, files;
  const auto stored = match_tensors(weights, table, unused);
  for (const fs::path& file : weights.files()) files.push_back(file.string());

  CheckpointMeta meta;
  meta.encoder = found.encoder;
  meta.tokenizer = found.tokenizer;
  meta.form = found.form;
  meta.origin = {{"method", "import"}, {"folder", folder.string()}, {kPretrainedSettings, found.settings}};
  CheckpointWriter writer(out, meta);
  for (const TensorView& tensor : table.tensors()) {
    if (tensor.name == kLogTemperature) {
      writer.write_rows(tensor, 0, std::span<const float>(std::array{0.0F}));
    } else {
      copy_tensor(weights, stored.at(tensor.name), tensor, writer);
    }
  }
  writer.commit();
  return {std::move(found), std::move(table), std::move(files), std::move(unused)};
}

SafetensorsType export_type_from_name(const std::string& what, const std::string& name) {
  return value_of_word(what, name, kExportTypes);
}

void export_sentence_transformers(const CheckpointReader& model, SafetensorsType type, const fs::path& out) {
  NewFolder folder(out);
  write_sentence_transformers_files(model, dtype_name(type), folder);
  write_weights(model, type, folder.temporary() / "model.safetensors");
  folder.commit();
}

}  // namespace toller
