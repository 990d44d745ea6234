// The tokenizer of a folder of Hugging Face's transformers, and its tokenizer_config.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "checkpoint/checkpoint.h"
#include "model/config.h"

namespace toller {

struct PretrainedTokenizer {
  std::string file;   ///< its name in the folder
  std::string bytes;  ///< serialised, see Tokenizer::from_bytes
};

/// Of tokenizer.json, vocab.txt or, of XLM-RoBERTa, sentencepiece.bpe.model, the first that is there. Error
/// if none is, or it has more pieces than the encoder.
PretrainedTokenizer read_pretrained_tokenizer(const std::filesystem::path& folder,
                                              const EncoderConfig& encoder);

/// What is kept of tokenizer_config.json (class, letter case, length) and special_tokens_map.json.
nlohmann::json read_pretrained_tokenizer_config(const std::filesystem::path& folder);

/// The model's tokenizer as a tokenizer.json. Error, which names the model, if it has none or one that has no
/// such form.
std::string pretrained_tokenizer_json(const CheckpointReader& model);

/// A tokenizer_config.json for this tokenizer.json, for a model that did not bring one.
nlohmann::json default_tokenizer_config(Architecture architecture, const std::string& tokenizer_json,
                                        std::int64_t max_length);

}  // namespace toller
