#include "checkpoint/pretrained_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>

#include "choice.h"
#include "error.h"
#include "io/strict_json.h"
#include "model/pretrained_architecture.h"

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

struct TowerWeights {
  SafetensorsReader reader;
  std::map<std::string, std::string> stored;  ///< names of the file's tensors by those of the table
};

/// Of every tensor of the table, the file's; those that are not used go to `unused`.
std::map<std::string, std::string> match_tensors(const SafetensorsReader& weights, Architecture architecture,
                                                 const ParameterTable& table,
                                                 std::vector<std::string>& unused) {
  std::map<std::string, const TensorView*> wanted;
  for (const TensorView& tensor : table.tensors()) {
    if (tensor.name != kLogTemperature) wanted[pretrained_tensor_name(architecture, tensor.name)] = &tensor;
  }
  std::map<std::string, std::string> stored;
  for (const auto& [name, info] : weights.tensors()) {
    const std::string bare = bare_tensor_name(architecture, name);
    const auto place = wanted.find(bare);
    if (place == wanted.end()) {
      if (!is_beside_the_encoder(architecture, bare)) {
        fail("{}: is no tensor of this encoder", weights.label(name));
      }
      unused.push_back(name);
      continue;
    }
    const TensorView& tensor = *place->second;
    if (const auto [other, is_new] = stored.emplace(tensor.name, name); !is_new) {
      fail("{}: and {} cannot both be {}", weights.label(name), other->second, bare);
    }
    if (info.shape != tensor.shape) {
      fail("{}: has shape [{}], but config.json makes it [{}]", weights.label(name),
           fmt::join(info.shape, ", "), fmt::join(tensor.shape, ", "));
    }
  }
  for (const auto& [bare, tensor] : wanted) {
    if (!stored.contains(tensor->name)) {
      fail("{}: tensor {} is missing", weights.files().front().string(), bare);
    }
  }
  return stored;
}

/// Names of the files go to `files`, those of tensors that are not used to `unused`.
TowerWeights open_weights(const PretrainedFolder& folder, std::vector<std::string>& files,
                          std::vector<std::string>& unused) {
  TowerWeights tower{SafetensorsReader(weights_of(folder.transformer)), {}};
  // A config may ask for any number of layers; the file must have tensors for them before a table is made.
  if (static_cast<std::size_t>(folder.encoder.layers) > tower.reader.tensors().size()) {
    fail("{}: {} layers, but the weights have {} tensors", (folder.transformer / "config.json").string(),
         folder.encoder.layers, tower.reader.tensors().size());
  }
  tower.stored =
      match_tensors(tower.reader, folder.encoder.architecture, ParameterTable(folder.encoder), unused);
  for (const fs::path& file : tower.reader.files()) files.push_back(file.string());
  return tower;
}

/// Of the towers of one model: all that EncoderConfig says, and the tokenizer.
void require_same_shape(const PretrainedFolder& queries, const PretrainedFolder& documents) {
  const nlohmann::json one = to_json(queries.encoder), other = to_json(documents.encoder);
  for (const auto& [field, value] : one.items()) {
    if (value == other.at(field)) continue;
    fail("{}: {} is {}, but that of {} is {}; the two towers of a model have the same shape",
         documents.transformer.string(), field, other.at(field).dump(), queries.transformer.string(),
         value.dump());
  }
  if (queries.tokenizer == documents.tokenizer) return;
  fail("{}: {} is another tokenizer than that of {}; the two towers of a model have the same one",
       documents.transformer.string(), documents.tokenizer_file, queries.transformer.string());
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

/// `towers`: one, or that of the queries and that of the documents.
void write_parameters(const std::vector<TowerWeights>& towers, const EncoderConfig& encoder,
                      const ParameterTable& table, CheckpointWriter& out) {
  const std::string of_documents = tower_prefix(encoder, Side::kDocuments);
  for (const TensorView& tensor : table.tensors()) {
    if (tensor.name == kLogTemperature) {
      out.write_rows(tensor, 0, std::span<const float>(std::array{0.0F}));
      continue;
    }
    const bool is_second = towers.size() == 2 && tensor.name.starts_with(of_documents);
    const std::string prefix = is_second ? of_documents : tower_prefix(encoder, Side::kQueries);
    const TowerWeights& tower = towers[is_second ? 1 : 0];
    copy_tensor(tower.reader, tower.stored.at(tensor.name.substr(prefix.size())), tensor, out);
  }
}

std::string dtype_name(SafetensorsType type) {
  return type == SafetensorsType::kFloat32   ? "float32"
         : type == SafetensorsType::kFloat16 ? "float16"
                                             : "bfloat16";
}

void write_weights(const CheckpointReader& model, Side side, SafetensorsType type, const fs::path& path) {
  const EncoderConfig& encoder = model.meta().encoder;
  const std::string tower = tower_prefix(encoder, side);
  std::vector<SafetensorsEntry> entries;
  std::vector<TensorView> tensors;
  for (const TensorView& tensor : model.table().tensors()) {
    if (tensor.name == kLogTemperature || !tensor.name.starts_with(tower)) continue;
    const std::string name = tensor.name.substr(tower.size());
    entries.push_back({pretrained_tensor_name(encoder.architecture, name), tensor.shape});
    tensors.push_back(tensor);
  }
  SafetensorsWriter out(path, type, std::move(entries));
  std::vector<float> values;
  for (const TensorView& tensor : tensors) {
    values.resize(static_cast<std::size_t>(tensor.size));
    model.read_tensor(tensor, std::span(values));
    out.append(values);
  }
  out.close();
}

}  // namespace

ImportReport import_pretrained(const PretrainedSource& source, const fs::path& out) {
  PretrainedFolder found = read_pretrained_folder(source.folder, source.choice);
  std::vector<std::string> files, unused;
  std::vector<TowerWeights> towers;
  towers.push_back(open_weights(found, files, unused));
  nlohmann::json origin = {{"method", "import"}, {"folder", source.folder.string()}};
  if (source.documents) {
    const PretrainedFolder documents = read_pretrained_folder(*source.documents, source.choice);
    require_same_shape(found, documents);
    towers.push_back(open_weights(documents, files, unused));
    found.form.documents = documents.form.documents;
    found.encoder.separate_towers = true;
    origin["documents_folder"] = source.documents->string();
  }
  origin[kPretrainedSettings] = found.settings;
  CheckpointMeta meta;
  meta.encoder = found.encoder;
  meta.tokenizer = found.tokenizer;
  meta.form = found.form;
  meta.origin = std::move(origin);
  ParameterTable table(found.encoder);
  CheckpointWriter writer(out, meta);
  write_parameters(towers, found.encoder, table, writer);
  writer.commit();
  return {std::move(found), std::move(table), std::move(files), std::move(unused)};
}

SafetensorsType export_type_from_name(const std::string& what, const std::string& name) {
  return value_of_word(what, name, kExportTypes);
}

void export_sentence_transformers(const CheckpointReader& model, Side side, SafetensorsType type,
                                  const fs::path& out) {
  NewFolder folder(out);
  write_sentence_transformers_files(model, dtype_name(type), folder);
  write_weights(model, side, type, folder.temporary() / "model.safetensors");
  folder.commit();
}

}  // namespace toller
