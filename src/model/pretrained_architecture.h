// What the files of Hugging Face's transformers look like for each architecture: config.json, and the names
// of tensors. All that differs between architectures on the way in and out is in the table in
// pretrained_architecture.cpp, an entry each.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "io/strict_json.h"
#include "model/config.h"

namespace toller {

/// Sizes, rates and epsilon; pooling and normalisation are not there and stay as EncoderConfig has them.
/// Throws Error naming file and field for what the encoder cannot do (another model_type, an activation other
/// than "gelu", relative positions, a decoder, code of its own). Fields that change nothing are passed over.
EncoderConfig encoder_from_pretrained_config(const JsonObject& config);

/// The other way: the bare model of the encoder's architecture. `dtype`: the parameters' type as transformers
/// calls it ("float32").
nlohmann::ordered_json pretrained_config_from_encoder(const EncoderConfig& encoder, const std::string& dtype);

/// What transformers calls a tensor of ParameterTable.
std::string pretrained_tensor_name(Architecture architecture, const std::string& name);

/// Of a tensor in a file, the name that pretrained_tensor_name() gives: without the prefix that models with
/// heads have ("bert."), and with the gains and biases of norms as they are called today.
std::string bare_tensor_name(Architecture architecture, std::string name);

/// Whether a tensor of that bare name is none of the encoder's: heads, which embeddings do not go through,
/// and tables of 0, 1, 2, … that old versions wrote.
bool is_beside_the_encoder(Architecture architecture, const std::string& bare_name);

/// tokenizer_config.json as transformers would write it for a model of the architecture that brings none: the
/// class and the special tokens. Nothing if the architecture's tokenizers are of another kind than `kind`
/// (WordPiece, BPE, Unigram).
std::optional<nlohmann::json> default_tokenizer_settings(Architecture architecture, const std::string& kind);

}  // namespace toller
