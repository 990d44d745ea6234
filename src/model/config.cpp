#include "model/config.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "choice.h"
#include "error.h"
#include "json_value.h"

namespace toller {
namespace {

struct Preset {
  const char* name;
  std::int32_t layers, hidden_size, heads, intermediate_size;
};

constexpr std::array<Preset, 4> kPresets = {{
    {"tiny", 2, 128, 2, 512},
    {"mini", 4, 256, 4, 1024},
    {"minilm", 6, 384, 12, 1536},
    {"base", 12, 768, 12, 3072},
}};

constexpr std::array<std::pair<Architecture, const char*>, 4> kArchitectures = {
    {{Architecture::kBert, "bert"},
     {Architecture::kDistilBert, "distilbert"},
     {Architecture::kRoberta, "roberta"},
     {Architecture::kXlmRoberta, "xlm-roberta"}}};

constexpr std::array<std::pair<Pooling, const char*>, 3> kPoolings = {
    {{Pooling::kMean, "mean"}, {Pooling::kCls, "cls"}, {Pooling::kLast, "last"}}};

constexpr std::array<std::pair<Side, const char*>, 2> kSides = {
    {{Side::kQueries, "queries"}, {Side::kDocuments, "documents"}}};

void require(bool condition, const char* field, const std::string& problem) {
  if (!condition) fail("encoder config: {} {}", field, problem);
}

void require_positive(std::int32_t value, const char* field) {
  require(value >= 1, field, fmt::format("is {}, must be at least 1", value));
}

void require_between(std::int32_t value, std::int32_t least, std::int32_t most, const char* field) {
  require(value >= least && value <= most, field,
          fmt::format("is {}, must lie between {} and {}", value, least, most));
}

void require_rate(double value, const char* field) {
  require(value >= 0 && value < 1, field, fmt::format("is {}, must lie in [0, 1)", value));
}

}  // namespace

Architecture architecture_from_name(const std::string& what, const std::string& name) {
  return value_of_word(what, name, kArchitectures);
}

std::string architecture_name(Architecture architecture) {
  return name_of_value("architecture", architecture, kArchitectures);
}

Side side_from_name(const std::string& what, const std::string& name) {
  return value_of_word(what, name, kSides);
}

Pooling pooling_from_name(const std::string& name) {
  return value_of_word("pooling", name, kPoolings);
}

std::string pooling_name(Pooling pooling) {
  return name_of_value("pooling", pooling, kPoolings);
}

void EncoderConfig::validate() const {
  require_positive(vocabulary_size, "vocabulary_size");
  require_positive(hidden_size, "hidden_size");
  require_positive(layers, "layers");
  require_positive(heads, "heads");
  require_positive(intermediate_size, "intermediate_size");
  require_positive(max_positions, "max_positions");
  if (architecture == Architecture::kDistilBert) {
    require_between(type_vocabulary_size, 0, 0, "type_vocabulary_size");
  } else {
    require_positive(type_vocabulary_size, "type_vocabulary_size");
  }
  const bool has_offset = architecture == Architecture::kRoberta || architecture == Architecture::kXlmRoberta;
  require_between(position_offset, has_offset ? 1 : 0, has_offset ? max_positions - 1 : 0, "position_offset");
  require(hidden_size % heads == 0, "heads",
          fmt::format("is {} and does not divide hidden_size {}", heads, hidden_size));
  require(layer_norm_eps > 0 && layer_norm_eps < 1, "layer_norm_eps",
          fmt::format("is {}, must lie in (0, 1)", layer_norm_eps));
  require(initializer_range > 0 && initializer_range < 10, "initializer_range",
          fmt::format("is {}, must lie in (0, 10)", initializer_range));
  require_rate(hidden_dropout, "hidden_dropout");
  require_rate(attention_dropout, "attention_dropout");
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Preset& preset : kPresets) names.emplace_back(preset.name);
  return names;
}

EncoderConfig preset_config(const std::string& name) {
  for (const Preset& preset : kPresets) {
    if (name != preset.name) continue;
    EncoderConfig config;
    config.layers = preset.layers;
    config.hidden_size = preset.hidden_size;
    config.heads = preset.heads;
    config.intermediate_size = preset.intermediate_size;
    return config;
  }
  fail_unknown("preset", name, preset_names());
}

nlohmann::json to_json(const EncoderConfig& config) {
  nlohmann::json json = {{"architecture", architecture_name(config.architecture)},
                         {"vocabulary_size", config.vocabulary_size},
                         {"hidden_size", config.hidden_size},
                         {"layers", config.layers},
                         {"heads", config.heads},
                         {"intermediate_size", config.intermediate_size},
                         {"max_positions", config.max_positions},
                         {"type_vocabulary_size", config.type_vocabulary_size},
                         {"layer_norm_eps", config.layer_norm_eps},
                         {"initializer_range", config.initializer_range},
                         {"hidden_dropout", config.hidden_dropout},
                         {"attention_dropout", config.attention_dropout},
                         {"pooling", pooling_name(config.pooling)},
                         {"normalize", config.normalize}};
  // Files of BERT's form are the same as before there was any other.
  if (config.position_offset != 0) json["position_offset"] = config.position_offset;
  if (config.separate_towers) json["separate_towers"] = true;
  return json;
}

EncoderConfig encoder_config_from_json(const nlohmann::json& json, const std::string& origin) {
  if (!json.is_object()) fail("{}: encoder config is not a JSON object", origin);
  EncoderConfig config;
  std::set<std::string> known;
  const auto read = [&](const char* field, auto& value) {
    known.insert(field);
    const auto found = json.find(field);
    if (found == json.end()) fail("{}: encoder config lacks the field {}", origin, field);
    try {
      value = json_value<std::decay_t<decltype(value)>>(*found);
    } catch (const Error& problem) {
      fail("{}: encoder config, field {}: {}", origin, field, problem.what());
    }
  };
  std::string architecture, pooling;
  read("architecture", architecture);
  read("vocabulary_size", config.vocabulary_size);
  read("hidden_size", config.hidden_size);
  read("layers", config.layers);
  read("heads", config.heads);
  read("intermediate_size", config.intermediate_size);
  read("max_positions", config.max_positions);
  if (json.contains("position_offset")) read("position_offset", config.position_offset);
  read("type_vocabulary_size", config.type_vocabulary_size);
  read("layer_norm_eps", config.layer_norm_eps);
  read("initializer_range", config.initializer_range);
  read("hidden_dropout", config.hidden_dropout);
  read("attention_dropout", config.attention_dropout);
  read("pooling", pooling);
  read("normalize", config.normalize);
  if (json.contains("separate_towers")) read("separate_towers", config.separate_towers);
  for (const auto& [field, value] : json.items()) {
    if (!known.contains(field)) fail("{}: encoder config: unknown field {}", origin, field);
  }
  try {
    config.architecture = architecture_from_name("encoder config: architecture", architecture);
    config.pooling = pooling_from_name(pooling);
    config.validate();
  } catch (const Error& problem) {
    fail("{}: {}", origin, problem.what());
  }
  return config;
}

}  // namespace toller
