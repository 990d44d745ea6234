// Models of the sentencepiece library, Unigram and BPE, and how Unigram models are trained.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/subword_model.h"
#include "text/tokenizer.h"

namespace toller {

/// The ids that the trainer gives the special tokens.
inline constexpr SpecialTokens kSentencePieceSpecials{.pad = 0, .unknown = 1, .begin = 2, .end = 3};

/// Reads the bytes of a .model file; see Tokenizer::from_bytes. Its bos, if it has one, is the first token of
/// texts, and its eos, which it must have, the last.
std::unique_ptr<SubwordModel> read_sentencepiece_model(std::string bytes, const std::string& origin);

/// The bytes of a trained model, a .model file; see Tokenizer::train.
std::string train_sentencepiece_model(const std::vector<std::string>& texts,
                                      const Tokenizer::TrainOptions& options);

}  // namespace toller
