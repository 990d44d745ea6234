// The tokenizer.json of a Unigram tokenizer.
#pragma once

#include <string>

#include "text/unigram.h"

namespace toller {

/// Reads a tokenizer.json with model Unigram; normalizer null, or Precompiled, Strip and Replace of " {2,}",
/// in this order in a Sequence where they are several; pre_tokenizer Metaspace that puts ▁ before every text,
/// perhaps after WhitespaceSplit in a Sequence. Errors name its origin and the field, those that are not
/// known among them.
UnigramSettings read_unigram_json(const JsonFields& root);

/// Appends a piece. Error, beginning with `place`, if it stands there already, is not UTF-8, or its score is
/// no logarithm of a probability.
void append_unigram_piece(const std::string& piece, double score, const std::string& place,
                          UnigramSettings& settings);

/// A tokenizer.json, which the `tokenizers` library reads, too.
std::string write_unigram_json(const UnigramSettings& settings, const SpecialTokens& special);

}  // namespace toller
