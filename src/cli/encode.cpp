#include <algorithm>
#include <filesystem>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/run_checkpoints.h"
#include "cli/command.h"
#include "cli/open_embedder.h"
#include "comm/communicator.h"
#include "data/collection.h"
#include "data/text_file.h"
#include "data/token_store.h"
#include "device/cpu/threads.h"
#include "error.h"
#include "eval/embedder.h"
#include "eval/evaluation.h"
#include "io/hdf5_file.h"
#include "text/tokenizer.h"

namespace toller {
namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

constexpr std::int64_t kEmbeddingsFormatVersion = 1;

constexpr const char* kUsage =
    "toller encode --model FILE --data STORE --out FILE [options]\n"
    "       toller encode --model FILE --input TEXTS --out FILE [options]";
constexpr const char* kDescription =
    "Writes the embeddings of texts to an HDF5 file: /embeddings float32 [rows, dimension], and the ids of "
    "the rows\n"
    "as bytes, /ids, that of row i from id_offsets[i] to id_offsets[i + 1]. Texts get the model's "
    "prompt and\n"
    "are cut at its length. Under mpirun the ranks share the work.";

po::options_description declare_options(DeviceOptions& device) {
  po::options_description options("Options");
  auto add = options.add_options();
  add("model", po::value<std::string>()->value_name("FILE"),
      "checkpoint, or the folder of a run (its last checkpoint)");
  add("data", po::value<std::string>()->value_name("FILE"), "token store to take the texts from");
  add("side", po::value<std::string>()->default_value("documents")->value_name("NAME"),
      "which prompt, length and tower texts get, and which texts of the store are meant: documents or "
      "queries");
  add("input", po::value<std::string>()->value_name("FILE"),
      "texts instead of a store: .jsonl with \"_id\", \"text\" and perhaps \"title\", or one text a line, "
      "whose id is "
      "then the number of the line");
  add("out", po::value<std::string>()->value_name("FILE"), "HDF5 file to write");
  add_truncate_option(options);
  add("threads", po::value<int>()->default_value(0, "auto")->value_name("N"), "threads a rank");
  add_device_options(options, device);
  return options;
}

std::vector<TextRecord> read_texts(const fs::path& path) {
  if (plain_name(path).extension() == ".jsonl") return read_records(path, true);
  std::vector<TextRecord> records;
  LineReader reader(path);
  for (std::string_view line; reader.next(line);) {
    records.push_back({std::to_string(reader.line_number()), std::string(line)});
  }
  if (records.empty()) fail("{}: holds no texts", path.string());
  return records;
}

TokenTable tokenize(const std::vector<TextRecord>& records, Side side, const CheckpointReader& model) {
  const CheckpointMeta& meta = model.meta();
  if (meta.tokenizer.empty()) fail("{}: holds no tokenizer, so it cannot read texts", model.path().string());
  const Tokenizer tokenizer = Tokenizer::from_bytes(meta.tokenizer, model.path().string());
  if (tokenizer.vocabulary_size() > meta.encoder.vocabulary_size) {
    fail("{}: its tokenizer has {} pieces, its embedding table {}", model.path().string(),
         tokenizer.vocabulary_size(), meta.encoder.vocabulary_size);
  }
  const SideForm& form = side == Side::kQueries ? meta.form.queries : meta.form.documents;
  const std::int32_t most =
      form.max_length == 0 ? meta.encoder.max_tokens() : std::min(form.max_length, meta.encoder.max_tokens());
  TokenTable table;
  for (const TextRecord& record : records) {
    table.append(tokenizer.encode(form.prompt + record.text, most), record.id);
  }
  return table;
}

TokenTable take_side(TokenStore store, Side side, const CheckpointReader& model) {
  check_same_texts(model, store);
  return std::move(side == Side::kQueries ? store.queries : store.documents);
}

void write_embeddings(const fs::path& path, const TokenTable& table, const std::vector<float>& embeddings,
                      std::int64_t dimension, const CheckpointReader& model) {
  std::string ids;
  std::vector<std::int64_t> offsets{0};
  for (const std::string& id : table.ids) {
    ids += id;
    offsets.push_back(std::ssize(ids));
  }
  Hdf5Writer file(path);
  file.write("/embeddings", std::span(embeddings), {table.rows(), dimension});
  file.write_string("/ids", ids);
  file.write("/id_offsets", std::span<const std::int64_t>(offsets), {std::ssize(offsets)});
  file.attribute_string("kind", "embeddings");
  file.attribute_int("format_version", kEmbeddingsFormatVersion);
  file.attribute_string("model", model.path().string());
  file.attribute_int("step", model.meta().step);
  file.commit();
}

}  // namespace

int run_encode(CommandContext& context) {
  DeviceOptions device;
  auto values = parse_options(context, kUsage, kDescription, declare_options(device));
  if (!values) return 0;
  po::notify(*values);
  const fs::path model_path = required_option(*values, "model"), out = required_option(*values, "out");
  const Side side = side_from_name("--side", (*values)["side"].as<std::string>());
  const bool from_store = values->count("data") != 0;
  if (from_store == (values->count("input") != 0)) fail_usage("give one of --data STORE and --input FILE");
  if (is_root(context)) AtomicFileWriter{out};  // what cannot be written fails before the work

  set_threads((*values)["threads"].as<int>());
  const CheckpointReader model(resolve_checkpoint(model_path));
  const TokenTable table = from_store
                               ? take_side(read_token_store(required_option(*values, "data")), side, model)
                               : tokenize(read_texts(required_option(*values, "input")), side, model);
  const auto embedder = open_embedder(model, device, context, (*values)["truncate"].as<std::int64_t>());
  std::vector<float> embeddings(table.rows() * embedder->dimension());
  embedder->embed_all(table, side, context.communicator, embeddings);
  if (!is_root(context)) return 0;
  write_embeddings(out, table, embeddings, embedder->dimension(), model);
  fmt::print("{} embeddings of dimension {} written to {}\n", table.rows(), embedder->dimension(),
             out.string());
  return 0;
}

}  // namespace toller
