// encode_tokens MODEL TOKENS OUT [gradients]: the embeddings of texts that come as token ids, a text a line,
// in a safetensors file; with "gradients" also the hidden states of the last layer, and the gradient of
// Σ sin(i) · embeddings[i] by every parameter, as transformers calls them. For
// tests/reference/hugging_face_reference.py.
#include <cstdio>

#include "checkpoint/token_pass.h"
#include "comm/communicator.h"
#include "error.h"
#include "eval/embedder.h"
#include "io/safetensors.h"
#include "model/pretrained_architecture.h"

namespace toller {
namespace {

void write_pass(const CheckpointReader& model, const TokenPass<float>& pass, const char* path) {
  const std::int64_t h = model.meta().encoder.hidden_size;
  const std::vector<TensorView>& tensors = model.table().tensors();
  std::vector<SafetensorsEntry> entries{{"hidden", {std::ssize(pass.hidden) / h, h}},
                                        {"embeddings", {std::ssize(pass.embeddings) / h, h}}};
  for (const TensorView& tensor : tensors) {
    entries.push_back({pretrained_tensor_name(model.meta().encoder.architecture, tensor.name), tensor.shape});
  }
  SafetensorsWriter out(path, SafetensorsType::kFloat32, entries);
  out.append(pass.hidden);
  out.append(pass.embeddings);
  for (const TensorView& tensor : tensors) {
    out.append(std::span(pass.gradient)
                   .subspan(static_cast<std::size_t>(tensor.offset), static_cast<std::size_t>(tensor.size)));
  }
  out.close();
}

void write_embeddings(const CheckpointReader& model, const std::vector<std::vector<std::int32_t>>& texts,
                      const char* path) {
  SelfCommunicator self;
  Embedder embedder(model, make_cpu_backend<float>(self));
  TokenTable table;
  for (const auto& tokens : texts) table.append(tokens, std::to_string(table.rows()));
  std::vector<float> embeddings(static_cast<std::size_t>(table.rows() * embedder.dimension()));
  embedder.embed(table, Side::kDocuments, 0, table.rows(), embeddings);
  SafetensorsWriter out(path, SafetensorsType::kFloat32,
                        {{"embeddings", {table.rows(), embedder.dimension()}}});
  out.append(embeddings);
  out.close();
}

}  // namespace
}  // namespace toller

int main(int argc, char** argv) {
  try {
    if (argc != 4 && argc != 5) {
      throw toller::Error("usage: encode_tokens MODEL TOKENS OUT [gradients]");
    }
    const toller::CheckpointReader model(argv[1]);
    const auto texts = toller::read_token_lines(argv[2]);
    if (argc == 5) {
      toller::write_pass(model, toller::pass_over_tokens<float>(model, texts), argv[3]);
    } else {
      toller::write_embeddings(model, texts, argv[3]);
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "encode_tokens: %s\n", error.what());
    return 1;
  }
}
