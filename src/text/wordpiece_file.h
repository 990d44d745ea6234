// The files that describe a WordPiece tokenizer.
#pragma once

#include <string>
#include <string_view>

#include "text/wordpiece.h"

namespace toller {

/// Reads a tokenizer.json with model WordPiece, normalizer BertNormalizer and pre_tokenizer BertPreTokenizer.
/// Errors name its origin and the field, those that are not known among them.
WordPieceSettings read_wordpiece_json(const JsonFields& root);

/// Reads a vocab.txt, one piece a line, with the settings that a tokenizer_config.json gives beside it ("{}":
/// none). Its special tokens are added tokens.
WordPieceSettings read_wordpiece_vocabulary(std::string_view text, const std::string& origin,
                                            std::string_view config, const std::string& config_origin);

/// A tokenizer.json, which the `tokenizers` library reads, too.
std::string write_wordpiece_json(const WordPieceSettings& settings, const SpecialTokens& special);

}  // namespace toller
