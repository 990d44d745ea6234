#include <filesystem>

#include "checkpoint/pretrained_model.h"
#include "cli/command.h"
#include "error.h"
#include "io/strict_json.h"

namespace toller {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage = "toller import DIR --out FILE [options]";
constexpr const char* kDescription =
    "Makes a checkpoint of a model of sentence-transformers or of Hugging Face's transformers: DIR has "
    "config.json,\n"
    "model.safetensors (or its shards and their index), tokenizer.json or vocab.txt (or XLM-R's "
    "sentencepiece.bpe.model),\n"
    "and perhaps modules.json with pooling and normalisation. Encoders: BERT (MiniLM, E5, BGE, GTE), "
    "DistilBERT,\n"
    "RoBERTa, XLM-R. What the encoder cannot do exactly is an error that names it. The checkpoint is one to "
    "train from\n"
    "(`toller train --init`), to evaluate, to encode with, and to export again.\n";

po::options_description declare_options() {
  po::options_description options("Options");
  options.add_options()("out", po::value<std::string>()->value_name("FILE"), "checkpoint to write")(
      "document-tower", po::value<std::string>()->value_name("DIR"),
      "another folder, with the model of documents; DIR is then that of queries (separate towers)")(
      "pooling", po::value<std::string>()->default_value("mean")->value_name("NAME"),
      "mean, cls or last, if DIR has no modules.json to say so")(
      "normalize", po::bool_switch(),
      "make embeddings of unit length, if DIR has no modules.json to say whether")(
      "dir", po::value<std::string>()->value_name("DIR"), "the folder; the same as the word without a flag");
  return options;
}

void print_report(const ImportReport& report, const std::string& out) {
  const EncoderConfig& encoder = report.folder.encoder;
  fmt::print("{}: {}{} layers of {}, {} heads, {} positions, vocabulary of {}: {} parameters\n", out,
             encoder.separate_towers ? "two towers of " : "", encoder.layers, encoder.hidden_size,
             encoder.heads, encoder.max_tokens(), encoder.vocabulary_size, report.table.size());
  fmt::print("embeddings: {} pooling, {}\n", pooling_name(encoder.pooling),
             encoder.normalize ? "unit length" : "not normalised");
  for (const std::string& file : report.files) fmt::print("weights: {}\n", file);
  fmt::print("tokenizer: {}\n", report.folder.tokenizer_file);
  const TextForm& form = report.folder.form;
  if (!form.queries.prompt.empty() || !form.documents.prompt.empty()) {
    fmt::print("prompts: \"{}\" before queries, \"{}\" before documents\n", form.queries.prompt,
               form.documents.prompt);
  }
  if (form.queries.max_length == form.documents.max_length) {
    fmt::print("texts are cut at {} tokens\n", form.documents.max_length);
  } else {
    fmt::print("queries are cut at {} tokens, documents at {}\n", form.queries.max_length,
               form.documents.max_length);
  }
  if (!report.unused.empty()) {
    fmt::print("not used (no part of the embeddings): {}\n", fmt::join(report.unused, ", "));
  }
  for (const std::string& note : report.folder.notes) fmt::print("note: {}\n", note);
}

}  // namespace

int run_import(CommandContext& context) {
  const auto values = parse_options(context, kUsage, kDescription, declare_options(), "dir");
  if (!values) return 0;
  const std::filesystem::path folder = required_option(*values, "dir");
  const std::string out = required_option(*values, "out");
  PretrainedSource source{.folder = folder,
                          .documents = std::nullopt,
                          .choice = {pooling_from_name((*values)["pooling"].as<std::string>()),
                                     (*values)["normalize"].as<bool>()}};
  if (values->count("document-tower") != 0) source.documents = required_option(*values, "document-tower");
  if (is_there(folder / "modules.json")) {
    for (const char* option : {"pooling", "normalize"}) {
      if (!is_given(*values, option)) continue;
      fail_usage("--{} does not go with {}: its modules.json says how embeddings are made", option,
                 folder.string());
    }
  }
  if (!is_root(context)) return 0;
  print_report(import_pretrained(source, out), out);
  return 0;
}

}  // namespace toller
