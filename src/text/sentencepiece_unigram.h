// Unigram models of the sentencepiece library in the form that the `tokenizers` library has them, as
// transformers converts them.
#pragma once

#include <string>

#include "text/unigram.h"

namespace toller {

/// Ids as in the file; its control pieces pad, bos and eos become padding, first and last token. Error, which
/// begins with `origin`, for a model of another kind than Unigram, without eos, or with what the form has no
/// place for (user-defined, unused and byte pieces, blanks that are kept or written behind words).
UnigramSettings unigram_of_sentencepiece(const std::string& model, const std::string& origin);

/// Of sentencepiece.bpe.model, as XLM-RoBERTa has it: <s>, <pad>, </s>, <unk>, the file's pieces behind its
/// first three, <mask>. These are fairseq's ids, which the weights go by. Errors as above, and other control
/// pieces.
UnigramSettings xlm_roberta_of_sentencepiece(const std::string& model, const std::string& origin);

}  // namespace toller
