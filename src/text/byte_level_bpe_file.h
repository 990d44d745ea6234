// The tokenizer.json of a byte-level BPE tokenizer.
#pragma once

#include <string>

#include "text/byte_level_bpe.h"

namespace toller {

/// Reads a tokenizer.json with model BPE; normalizer null or NFC; pre_tokenizer ByteLevel with its regular
/// expression, or a Sequence of Split (Qwen2's expression, or GPT-2's) and ByteLevel without. Errors name its
/// origin and the field, those that are not known among them.
ByteLevelBpeSettings read_byte_level_bpe_json(const JsonFields& root);

/// A tokenizer.json, which the `tokenizers` library reads, too.
std::string write_byte_level_bpe_json(const ByteLevelBpeSettings& settings, const SpecialTokens& special);

}  // namespace toller
