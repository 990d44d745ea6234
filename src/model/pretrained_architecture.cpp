#include "model/pretrained_architecture.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <utility>

#include "error.h"

namespace toller {
namespace {

/// Names of fields of config.json that differ; null where the architecture has no such field.
struct ConfigFields {
  const char *hidden_size, *layers, *heads, *intermediate_size, *activation;
  const char *position_type, *sinusoidal_positions, *types, *epsilon, *hidden_dropout, *attention_dropout;
};

/// A part of a layer, as ParameterTable and as the files call it.
struct LayerPart {
  std::string_view table, file;
};

struct TokenizerNames {
  const char *kind, *tokenizer_class, *unknown, *separator, *padding, *first, *mask;
};

struct PretrainedArchitecture {
  Architecture architecture;
  const char* model_class;
  std::string_view prefix;  ///< of the encoder's tensors in a model with a head
  std::span<const std::string_view> heads;
  const ConfigFields& fields;
  /// The first token has position pad_token_id + 1: fairseq's way. Its default is 1.
  bool counts_from_padding;
  std::string_view layer_prefix;           ///< of tensors: what the layer's number follows
  std::span<const LayerPart> layer_parts;  ///< empty: all are called as in ParameterTable
  const TokenizerNames& tokenizer;
};

constexpr std::string_view kTableLayerPrefix = "encoder.layer.";
/// Of architectures whose config.json does not say.
constexpr double kEpsilon = 1e-12;

constexpr ConfigFields kBertFields = {.hidden_size = "hidden_size",
                                      .layers = "num_hidden_layers",
                                      .heads = "num_attention_heads",
                                      .intermediate_size = "intermediate_size",
                                      .activation = "hidden_act",
                                      .position_type = "position_embedding_type",
                                      .sinusoidal_positions = nullptr,
                                      .types = "type_vocab_size",
                                      .epsilon = "layer_norm_eps",
                                      .hidden_dropout = "hidden_dropout_prob",
                                      .attention_dropout = "attention_probs_dropout_prob"};
constexpr std::array<std::string_view, 4> kBertHeads = {"pooler.", "cls.", "classifier.", "qa_outputs."};
constexpr TokenizerNames kBertTokenizer = {"WordPiece", "BertTokenizer", "[UNK]", "[SEP]",
                                           "[PAD]",     "[CLS]",         "[MASK]"};

constexpr ConfigFields kDistilBertFields = {.hidden_size = "dim",
                                            .layers = "n_layers",
                                            .heads = "n_heads",
                                            .intermediate_size = "hidden_dim",
                                            .activation = "activation",
                                            .position_type = nullptr,
                                            .sinusoidal_positions = "sinusoidal_pos_embds",
                                            .types = nullptr,
                                            .epsilon = nullptr,
                                            .hidden_dropout = "dropout",
                                            .attention_dropout = "attention_dropout"};
constexpr std::array<std::string_view, 6> kDistilBertHeads = {"vocab_transform.", "vocab_layer_norm.",
                                                              "vocab_projector.", "pre_classifier.",
                                                              "classifier.",      "qa_outputs."};
constexpr std::array<LayerPart, 8> kDistilBertParts = {{{"attention.self.query", "attention.q_lin"},
                                                        {"attention.self.key", "attention.k_lin"},
                                                        {"attention.self.value", "attention.v_lin"},
                                                        {"attention.output.dense", "attention.out_lin"},
                                                        {"attention.output.LayerNorm", "sa_layer_norm"},
                                                        {"intermediate.dense", "ffn.lin1"},
                                                        {"output.dense", "ffn.lin2"},
                                                        {"output.LayerNorm", "output_layer_norm"}}};
constexpr TokenizerNames kDistilBertTokenizer = {
    "WordPiece", "DistilBertTokenizer", "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"};

constexpr std::array<std::string_view, 4> kRobertaHeads = {"pooler.", "lm_head.", "classifier.",
                                                           "qa_outputs."};
constexpr TokenizerNames kRobertaTokenizer = {"BPE",   "RobertaTokenizer", "<unk>", "</s>", "<pad>", "<s>",
                                              "<mask>"};
constexpr TokenizerNames kXlmRobertaTokenizer = {
    "Unigram", "XLMRobertaTokenizer", "<unk>", "</s>", "<pad>", "<s>", "<mask>"};

constexpr std::array<PretrainedArchitecture, 4> kArchitectures = {{{.architecture = Architecture::kBert,
                                                                    .model_class = "BertModel",
                                                                    .prefix = "bert.",
                                                                    .heads = kBertHeads,
                                                                    .fields = kBertFields,
                                                                    .counts_from_padding = false,
                                                                    .layer_prefix = kTableLayerPrefix,
                                                                    .layer_parts = {},
                                                                    .tokenizer = kBertTokenizer},
                                                                   {.architecture = Architecture::kDistilBert,
                                                                    .model_class = "DistilBertModel",
                                                                    .prefix = "distilbert.",
                                                                    .heads = kDistilBertHeads,
                                                                    .fields = kDistilBertFields,
                                                                    .counts_from_padding = false,
                                                                    .layer_prefix = "transformer.layer.",
                                                                    .layer_parts = kDistilBertParts,
                                                                    .tokenizer = kDistilBertTokenizer},
                                                                   {.architecture = Architecture::kRoberta,
                                                                    .model_class = "RobertaModel",
                                                                    .prefix = "roberta.",
                                                                    .heads = kRobertaHeads,
                                                                    .fields = kBertFields,
                                                                    .counts_from_padding = true,
                                                                    .layer_prefix = kTableLayerPrefix,
                                                                    .layer_parts = {},
                                                                    .tokenizer = kRobertaTokenizer},
                                                                   {.architecture = Architecture::kXlmRoberta,
                                                                    .model_class = "XLMRobertaModel",
                                                                    .prefix = "roberta.",
                                                                    .heads = kRobertaHeads,
                                                                    .fields = kBertFields,
                                                                    .counts_from_padding = true,
                                                                    .layer_prefix = kTableLayerPrefix,
                                                                    .layer_parts = {},
                                                                    .tokenizer = kXlmRobertaTokenizer}}};

const PretrainedArchitecture& entry_of(Architecture architecture) {
  const auto* entry = std::ranges::find(kArchitectures, architecture, &PretrainedArchitecture::architecture);
  if (entry == kArchitectures.end()) fail("{}: has no files", architecture_name(architecture));
  return *entry;
}

const PretrainedArchitecture& entry_of(const JsonObject& config) {
  const std::string model_type = config.text("model_type", "");
  std::vector<std::string> known;
  for (const PretrainedArchitecture& entry : kArchitectures) {
    known.push_back(architecture_name(entry.architecture));
    if (model_type == known.back()) return entry;
  }
  fail("{}: field model_type is '{}', which is not supported; {} are", config.origin(), model_type,
       fmt::join(known, ", "));
}

/// What would be calculated otherwise.
void require_supported(const JsonObject& config, const ConfigFields& fields) {
  config.require(fields.activation, "gelu");
  // Sinusoidal positions are stored like learnt ones.
  if (fields.position_type != nullptr) config.require(fields.position_type, "absolute");
  config.require("is_decoder", false);
  config.require("is_encoder_decoder", false);
  config.require("add_cross_attention", false);
  config.require("pruned_heads", nlohmann::json::object());
  config.require_absent("auto_map");
  config.require_absent("quantization_config");
}

std::int32_t read_position_offset(const JsonObject& config, std::int32_t max_positions) {
  const std::int32_t padding = config.count("pad_token_id", 1);
  if (padding >= max_positions - 1) {
    fail("{}: field pad_token_id is {}: positions count from {} on, but there are {}", config.origin(),
         padding, std::int64_t{padding} + 1, max_positions);
  }
  return padding + 1;
}

}  // namespace

EncoderConfig encoder_from_pretrained_config(const JsonObject& config) {
  const PretrainedArchitecture& entry = entry_of(config);
  const ConfigFields& fields = entry.fields;
  require_supported(config, fields);
  EncoderConfig encoder;
  encoder.architecture = entry.architecture;
  encoder.vocabulary_size = config.count("vocab_size");
  encoder.hidden_size = config.count(fields.hidden_size);
  encoder.layers = config.count(fields.layers);
  encoder.heads = config.count(fields.heads);
  encoder.intermediate_size = config.count(fields.intermediate_size);
  encoder.max_positions = config.count("max_position_embeddings", encoder.max_positions);
  if (entry.counts_from_padding) {
    encoder.position_offset = read_position_offset(config, encoder.max_positions);
  }
  encoder.type_vocabulary_size =
      fields.types == nullptr ? 0 : config.count(fields.types, encoder.type_vocabulary_size);
  encoder.layer_norm_eps = fields.epsilon == nullptr ? kEpsilon : config.number(fields.epsilon, kEpsilon);
  encoder.initializer_range = config.number("initializer_range", encoder.initializer_range);
  encoder.hidden_dropout = config.number(fields.hidden_dropout, encoder.hidden_dropout);
  encoder.attention_dropout = config.number(fields.attention_dropout, encoder.attention_dropout);
  try {
    encoder.validate();
  } catch (const Error& problem) {
    fail("{}: {}", config.origin(), problem.what());
  }
  return encoder;
}

nlohmann::ordered_json pretrained_config_from_encoder(const EncoderConfig& encoder,
                                                      const std::string& dtype) {
  const PretrainedArchitecture& entry = entry_of(encoder.architecture);
  const ConfigFields& fields = entry.fields;
  const std::string model_type = architecture_name(encoder.architecture);
  nlohmann::ordered_json config = {{"architectures", {entry.model_class}},
                                   {"model_type", model_type},
                                   {"vocab_size", encoder.vocabulary_size},
                                   {fields.hidden_size, encoder.hidden_size},
                                   {fields.layers, encoder.layers},
                                   {fields.heads, encoder.heads},
                                   {fields.intermediate_size, encoder.intermediate_size},
                                   {fields.activation, "gelu"},
                                   {"max_position_embeddings", encoder.max_positions}};
  if (fields.position_type != nullptr) config[fields.position_type] = "absolute";
  if (fields.sinusoidal_positions != nullptr) config[fields.sinusoidal_positions] = false;
  if (fields.types != nullptr) config[fields.types] = encoder.type_vocabulary_size;
  if (fields.epsilon != nullptr) {
    config[fields.epsilon] = encoder.layer_norm_eps;
  } else if (encoder.layer_norm_eps != kEpsilon) {
    fail("encoder config: layer_norm_eps is {}; a {} model has {}", encoder.layer_norm_eps, model_type,
         kEpsilon);
  }
  config["initializer_range"] = encoder.initializer_range;
  config[fields.hidden_dropout] = encoder.hidden_dropout;
  config[fields.attention_dropout] = encoder.attention_dropout;
  // Both names that transformers has had for it.
  config["torch_dtype"] = dtype;
  config["dtype"] = dtype;
  if (entry.counts_from_padding) config["pad_token_id"] = encoder.position_offset - 1;
  return config;
}

std::string pretrained_tensor_name(Architecture architecture, const std::string& name) {
  const PretrainedArchitecture& entry = entry_of(architecture);
  if (entry.layer_parts.empty() || !name.starts_with(kTableLayerPrefix)) return name;
  const std::size_t number = kTableLayerPrefix.size(), part = name.find('.', number) + 1,
                    kind = name.rfind('.');
  const auto found = std::ranges::find(entry.layer_parts, std::string_view(name).substr(part, kind - part),
                                       &LayerPart::table);
  if (found == entry.layer_parts.end()) {
    fail("tensor {} has no name in a {} model", name, architecture_name(architecture));
  }
  return fmt::format("{}{}{}{}", entry.layer_prefix, name.substr(number, part - number), found->file,
                     name.substr(kind));
}

std::string bare_tensor_name(Architecture architecture, std::string name) {
  const std::string_view prefix = entry_of(architecture).prefix;
  if (name.starts_with(prefix)) name.erase(0, prefix.size());
  for (const auto& [old, now] :
       {std::pair("LayerNorm.gamma", "LayerNorm.weight"), std::pair("LayerNorm.beta", "LayerNorm.bias")}) {
    if (name.ends_with(old)) name.replace(name.size() - std::string_view(old).size(), std::string::npos, now);
  }
  return name;
}

bool is_beside_the_encoder(Architecture architecture, const std::string& bare_name) {
  if (bare_name == "embeddings.position_ids" || bare_name == "embeddings.token_type_ids") return true;
  return std::ranges::any_of(entry_of(architecture).heads,
                             [&](std::string_view head) { return bare_name.starts_with(head); });
}

std::optional<nlohmann::json> default_tokenizer_settings(Architecture architecture, const std::string& kind) {
  const TokenizerNames& names = entry_of(architecture).tokenizer;
  if (kind != names.kind) return std::nullopt;
  return nlohmann::json{{"unk_token", names.unknown}, {"sep_token", names.separator},
                        {"pad_token", names.padding}, {"cls_token", names.first},
                        {"mask_token", names.mask},   {"tokenizer_class", names.tokenizer_class}};
}

}  // namespace toller
