// config.json of BERT models in the form of Hugging Face's transformers (BertConfig).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "io/strict_json.h"
#include "model/config.h"

namespace toller {

/// Sizes, rates and epsilon; pooling and normalisation are not there and stay as EncoderConfig has them.
/// Throws Error naming file and field for what the encoder cannot do (another model_type, hidden_act other
/// than "gelu", relative positions, a decoder, code of its own). Fields that change nothing are passed over.
EncoderConfig encoder_from_bert_config(const JsonObject& config);

/// The other way: a BertModel. `dtype`: the parameters' type as transformers calls it ("float32").
nlohmann::ordered_json bert_config_from_encoder(const EncoderConfig& encoder, const std::string& dtype);

}  // namespace toller
