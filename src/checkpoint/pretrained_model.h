// Models of sentence-transformers and of Hugging Face's transformers → checkpoints, and back. Encoders
// whose model_type is one of those in model/pretrained_architecture.h.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/pretrained_folder.h"
#include "io/safetensors.h"

namespace toller {

/// What is imported.
struct PretrainedSource {
  std::filesystem::path folder;
  /// Where documents have a model of their own: its folder; `folder` is that of the queries.
  std::optional<std::filesystem::path> documents = std::nullopt;
  PoolingChoice choice = {};
};

struct ImportReport {
  /// The folder; of two, the queries', with the prompt and the length of the documents'.
  PretrainedFolder folder;
  ParameterTable table;
  std::vector<std::string> files;   ///< with the weights
  std::vector<std::string> unused;  ///< tensors that are not the encoder's: pooler.*, lm_head.*
};

/// Writes the checkpoint `out`: parameters as they are (float64 rounded to float32), the bytes of the
/// tokenizer's file, and PretrainedFolder::settings in the origin. Tensors may be called "bert.…" (or so),
/// and gains and biases of norms gamma and beta, as in old files. Two folders become an encoder with separate
/// towers. Throws Error naming file and field or tensor for what is missing, unknown, of another shape, not
/// finite or not supported, and for a second folder whose encoder, pooling or tokenizer is not the first's.
ImportReport import_pretrained(const PretrainedSource& source, const std::filesystem::path& out);

/// fp32, bf16 or fp16; `what` is named if it is none of these.
SafetensorsType export_type_from_name(const std::string& what, const std::string& name);

/// Makes the folder `out`, new or empty: one that sentence-transformers loads without code of its own. Of a
/// model with separate towers, the tower of `side` is what it holds. Throws Error for values that are not in
/// the type, naming the tensor, and for a tokenizer that cannot be exported.
void export_sentence_transformers(const CheckpointReader& model, Side side, SafetensorsType type,
                                  const std::filesystem::path& out);

}  // namespace toller
