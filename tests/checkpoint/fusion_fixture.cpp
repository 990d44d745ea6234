#include "fusion_fixture.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "error.h"

namespace toller {
namespace {

FlatModel flatten(const nlohmann::json& tensors, const ParameterTable& table) {
  FlatModel flat;
  for (const TensorView& tensor : table.tensors()) {
    const auto values = tensors.at(tensor.name).get<std::vector<double>>();
    if (static_cast<std::int64_t>(values.size()) != tensor.size) fail("fixture: size of {}", tensor.name);
    flat.insert(flat.end(), values.begin(), values.end());
  }
  return flat;
}

FusionOptions read_options(const nlohmann::json& entry) {
  FusionOptions options;
  options.method = fusion_method_from_name(entry.at("method"));
  options.granularity = fusion_granularity_from_name(entry.value("granularity", "tensor"));
  options.weights = entry.at("weights").get<std::vector<double>>();
  options.alpha = entry.value("alpha", options.alpha);
  options.scale = entry.value("lambda", options.scale);
  options.density = entry.value("density", options.density);
  options.drop = entry.value("drop", options.drop);
  options.seed = entry.value("seed", options.seed);
  options.fraction = entry.value("t", options.fraction);
  return options;
}

}  // namespace

FusionFixture read_fusion_fixture(const std::filesystem::path& path) {
  std::ifstream file(path);
  const nlohmann::json json = nlohmann::json::parse(file);
  FusionFixture fixture;
  fixture.encoder = encoder_config_from_json(json.at("encoder"), path.string());
  const ParameterTable table(fixture.encoder);
  for (const auto& [name, tensors] : json.at("models").items()) {
    fixture.models[name] = flatten(tensors, table);
  }
  for (const nlohmann::json& entry : json.at("cases")) {
    FusionCase& fusion = fixture.cases.emplace_back();
    fusion.options = read_options(entry);
    for (const char letter : entry.at("models").get<std::string>()) fusion.models.emplace_back(1, letter);
    fusion.mean_weights = entry.at("mean_weights").get<std::vector<double>>();
    fusion.expected = flatten(entry.at("expected"), table);
  }
  return fixture;
}

template <class T>
void write_models(const FusionFixture& fixture, const std::filesystem::path& folder) {
  const ParameterTable table(fixture.encoder);
  for (const auto& [name, values] : fixture.models) {
    const std::vector<T> rounded(values.begin(), values.end());
    CheckpointMeta meta;
    meta.encoder = fixture.encoder;
    meta.tokenizer = "pieces";
    write_checkpoint<T>(folder / (name + ".h5"), meta, table, rounded, {}, {});
  }
}

template void write_models<float>(const FusionFixture&, const std::filesystem::path&);
template void write_models<double>(const FusionFixture&, const std::filesystem::path&);

FusionSummary run_case(const FusionCase& fusion, const std::filesystem::path& folder,
                       const std::filesystem::path& out) {
  std::vector<std::filesystem::path> checkpoints;
  for (const std::string& name : fusion.models) checkpoints.push_back(folder / (name + ".h5"));
  SelfCommunicator alone;
  const auto base = needs_base(fusion.options.method) ? folder / "base.h5" : std::filesystem::path();
  return fuse_checkpoints(checkpoints, base, fusion.options, out, alone);
}

}  // namespace toller
