#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_set>

#include "cli/command.h"
#include "data/collection.h"
#include "data/text_file.h"
#include "data/token_store.h"
#include "error.h"
#include "text/tokenizer.h"

namespace toller {
namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

po::options_description declare_options() {
  po::options_description options("Options");
  auto add = options.add_options();
  add("collection", po::value<std::string>()->value_name("DIR"),
      "folder in BEIR layout (corpus.jsonl, queries.jsonl, qrels/*.tsv), or of scored pairs of sentences "
      "(pairs/*.tsv, or the STS benchmark's sts-*.csv)");
  add("out", po::value<std::string>()->value_name("FILE"), "token store to write");
  add("tokenizer", po::value<std::string>()->value_name("FILE"),
      "tokenizer to use: a tokenizer.json (WordPiece, byte-level BPE or Unigram), WordPiece's vocab.txt, or "
      "a "
      "sentencepiece model");
  add("train-tokenizer", po::value<std::int32_t>()->value_name("N"),
      "train a tokenizer of N pieces on the collection instead, and write it beside the store as .model");
  add("cased", po::bool_switch(),
      "keep upper case, with --train-tokenizer or with a vocab.txt (where no tokenizer_config.json beside it "
      "says so)");
  add("max-length", po::value<std::int32_t>()->default_value(128)->value_name("N"),
      "tokens a text, special tokens included; longer texts are cut");
  add("threads", po::value<int>()->default_value(0, "all")->value_name("N"), "threads for tokenizing");
  add("json", po::value<std::string>()->value_name("FILE"), "write the figures to FILE");
  return options;
}

struct PrepareOptions {
  fs::path collection;
  fs::path out;
  fs::path tokenizer;  ///< empty: train one
  bool cased = false;
  Tokenizer::TrainOptions training;
  std::int32_t max_length = 0;
  int threads = 0;
};

PrepareOptions read_options(const po::variables_map& values) {
  PrepareOptions options;
  options.collection = required_option(values, "collection");
  options.out = required_option(values, "out");
  const bool given = values.count("tokenizer") != 0;
  if (given == (values.count("train-tokenizer") != 0)) {
    fail_usage("give one of --tokenizer FILE and --train-tokenizer N");
  }
  if (given) options.tokenizer = required_option(values, "tokenizer");
  if (!given) options.training.vocabulary_size = values["train-tokenizer"].as<std::int32_t>();
  options.cased = values["cased"].as<bool>();
  options.training.lower_case = !options.cased;
  if (given && options.cased && options.tokenizer.extension() != ".txt") {
    fail_usage(
        "--cased is for --train-tokenizer and for a vocab.txt; other files say themselves what is kept");
  }
  if (options.out.extension() == ".model")
    fail_usage("--out {}: .model is for the tokenizer", options.out.string());
  options.max_length = values["max-length"].as<std::int32_t>();
  if (options.max_length < 3 || options.max_length > 1'000'000) {
    fail_usage("--max-length {}: must lie between 3 and 1000000", options.max_length);
  }
  options.threads = values["threads"].as<int>();
  if (options.threads < 0 || options.threads > 4096)
    fail_usage("--threads {}: no such number", options.threads);
  if (options.threads == 0) options.threads = omp_get_num_procs();
  return options;
}

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Texts to train on: documents and queries, each distinct text once (queries are often documents too), and
/// from a large collection only as many as training takes, evenly spaced.
std::vector<std::string> training_texts(const Collection& collection, std::int64_t limit) {
  const std::size_t documents = collection.documents.size();
  const std::size_t total = documents + collection.queries.size();
  const std::size_t taken = std::min(total, static_cast<std::size_t>(limit));
  std::unordered_set<std::string_view> seen;
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < taken; ++i) {
    const std::size_t row = i * total / taken;
    const std::string& text =
        row < documents ? collection.documents[row].text : collection.queries[row - documents].text;
    if (seen.insert(text).second) texts.push_back(text);
  }
  return texts;
}

/// Loads the tokenizer, or trains it and writes it beside the store.
Tokenizer make_tokenizer(const PrepareOptions& options, const Collection& collection,
                         nlohmann::ordered_json& figures) {
  if (!options.tokenizer.empty()) return Tokenizer::load(options.tokenizer.string(), options.cased);
  const Stopwatch watch;
  const std::vector<std::string> texts = training_texts(collection, options.training.max_sentences);
  fmt::print("training a tokenizer of {} pieces on {} texts\n", options.training.vocabulary_size,
             texts.size());
  std::fflush(stdout);
  Tokenizer tokenizer = Tokenizer::train(texts, options.training);
  const fs::path path = fs::path(options.out).replace_extension(".model");
  AtomicFileWriter file(path);
  file.write(tokenizer.bytes());
  file.commit();
  fmt::print("  {:.1f} s, written to {}\n", watch.seconds(), path.string());
  figures["tokenizer"] = path.string();
  figures["training_seconds"] = watch.seconds();
  return tokenizer;
}

void report(const TokenizeReport& counts, nlohmann::ordered_json& figures) {
  const auto texts = static_cast<double>(counts.texts);
  const auto tokens = static_cast<double>(counts.tokens);
  const double pieces = std::max(1.0, tokens - 2 * texts);  // without [CLS] and [SEP]
  const double seconds = std::max(counts.seconds, 1e-9);
  fmt::print("tokenized {} texts: {:.0f} texts/s, {:.0f} tokens/s\n", counts.texts, texts / seconds,
             tokens / seconds);
  fmt::print(
      "  tokens a text: {:.2f} on average, {} at most; cut: {} texts ({:.2f} %); unknown: {:.4f} % of "
      "pieces\n",
      tokens / texts, counts.longest, counts.cut, 100 * static_cast<double>(counts.cut) / texts,
      100 * static_cast<double>(counts.unknown) / pieces);
  figures["texts"] = counts.texts;
  figures["tokens"] = counts.tokens;
  figures["mean_length"] = tokens / texts;
  figures["longest"] = counts.longest;
  figures["cut_texts"] = counts.cut;
  figures["unknown_share"] = static_cast<double>(counts.unknown) / pieces;
  figures["texts_per_second"] = texts / seconds;
  figures["tokens_per_second"] = tokens / seconds;
}

void prepare(const PrepareOptions& options, nlohmann::ordered_json& figures) {
  const Stopwatch watch;
  const Collection collection = read_collection(options.collection);
  const bool pairs = collection.task == Task::kSimilarity;
  std::string splits;
  for (const auto& [name, judgements] : collection.splits) {
    splits += fmt::format("{}{} ({} {})", splits.empty() ? "" : ", ", name, judgements.size(),
                          pairs ? "scored pairs" : "judgements");
  }
  fmt::print("read {}: {} {}, {} {}; {}; {:.1f} s\n", options.collection.string(),
             collection.documents.size(), pairs ? "second sentences" : "documents", collection.queries.size(),
             pairs ? "first sentences" : "queries", splits, watch.seconds());
  std::fflush(stdout);
  const Tokenizer tokenizer = make_tokenizer(options, collection, figures);
  const TokenizeReport counts =
      write_token_store(collection, tokenizer, options.max_length, options.threads, options.out);
  report(counts, figures);
  figures["seconds"] = watch.seconds();
  fmt::print("written to {} ({:.1f} MB) after {:.1f} s in all\n", options.out.string(),
             static_cast<double>(fs::file_size(options.out)) / 1e6, watch.seconds());
}

}  // namespace

int run_prepare(CommandContext& context) {
  const auto values = parse_options(
      context, "toller prepare --collection DIR --out store.h5 --train-tokenizer N [options]",
      "Tokenizes a collection once, into the store that training and evaluation read.", declare_options());
  if (!values) return 0;
  const PrepareOptions options = read_options(*values);
  if (!is_root(context)) return 0;

  if (options.out.has_parent_path()) {
    std::error_code error;
    fs::create_directories(options.out.parent_path(), error);
    if (error) fail("{}: cannot create the folder: {}", options.out.parent_path().string(), error.message());
  }
  nlohmann::ordered_json figures;
  prepare(options, figures);
  if (values->count("json") != 0) {
    AtomicFileWriter file((*values)["json"].as<std::string>());
    file.write(figures.dump(2) + '\n');
    file.commit();
  }
  return 0;
}

}  // namespace toller
