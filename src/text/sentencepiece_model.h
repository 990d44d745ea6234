// Unigram models of the sentencepiece library, and how they are trained.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/subword_model.h"
#include "text/tokenizer.h"

namespace toller {

/// The ids that the trainer gives the special tokens, and the only ones that are read.
inline constexpr SpecialTokens kSentencePieceSpecials{.pad = 0, .unknown = 1, .begin = 2, .end = 3};

/// Reads the bytes of a .model file; see Tokenizer::from_bytes.
std::unique_ptr<SubwordModel> read_sentencepiece_model(std::string bytes, const std::string& origin);

/// The bytes of a trained model; see Tokenizer::train.
std::string train_sentencepiece_model(const std::vector<std::string>& texts,
                                      const Tokenizer::TrainOptions& options);

}  // namespace toller
