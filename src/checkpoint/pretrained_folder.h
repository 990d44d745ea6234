// Folders of sentence-transformers and of Hugging Face's transformers, all but their weights: what there is
// beside a BERT encoder, read and written.
//   config.json                        the encoder (model/bert_config.h)
//   modules.json, 1_Pooling/           pooling, and whether embeddings have unit length
//   sentence_bert_config.json          the length at which texts are cut
//   config_sentence_transformers.json  prompts
//   tokenizer.json or vocab.txt        the tokenizer, and tokenizer_config.json to go with it
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "io/new_folder.h"
#include "model/config.h"
#include "text/text_form.h"

namespace toller {

/// How embeddings are made where a folder does not say: it has no modules.json. Sentence-transformers takes
/// the same.
struct PoolingChoice {
  Pooling pooling = Pooling::kMean;
  bool normalize = false;
};

struct PretrainedFolder {
  std::filesystem::path transformer;  ///< where config.json, weights and tokenizer are
  bool has_modules = false;           ///< otherwise pooling and normalisation are those of the choice
  EncoderConfig encoder;
  std::string tokenizer_file;  ///< name of the file in `transformer`
  std::string tokenizer;       ///< serialised, see Tokenizer::from_bytes
  /// The prompts that sentence-transformers puts before queries and documents, and the length of its texts.
  TextForm form;
  /// What the encoder has no place for, of what the folder has: pad_token_id, max_seq_length, do_lower_case,
  /// tokenizer_config, prompts, default_prompt_name, similarity_fn_name. For CheckpointMeta::origin.
  nlohmann::json settings;
  std::vector<std::string> notes;  ///< for people: what Toller does otherwise
};

/// Throws Error naming file and field for whatever is not supported.
PretrainedFolder read_pretrained_folder(const std::filesystem::path& folder, const PoolingChoice& choice);

/// The key of PretrainedFolder::settings in the origin of an imported model.
inline constexpr const char* kPretrainedSettings = "pretrained";

/// All files but the weights. `dtype`: of these, as transformers calls it. Settings come from the model's
/// origin, or that of the model that it was trained or fused from; Error, before anything is written, for a
/// tokenizer that has no form in such a folder.
void write_sentence_transformers_files(const CheckpointReader& model, const std::string& dtype,
                                       const NewFolder& folder);

}  // namespace toller
