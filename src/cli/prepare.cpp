#include <omp.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_set>

#include "checkpoint/checkpoint.h"
#include "checkpoint/run_checkpoints.h"
#include "cli/command.h"
#include "cli/prepare_progress.h"
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
  add("collection", po::value<std::string>()->value_name("PATH"),
      "folder or file with texts, in one of the forms above");
  add("columns", po::value<std::string>()->value_name("NAMES"),
      "names of the columns of .tsv files that have no header line, such as query,positive,negative");
  add("out", po::value<std::string>()->value_name("FILE"), "token store to write");
  add("model", po::value<std::string>()->value_name("FILE"),
      "take the tokenizer, the prompts and the lengths of this checkpoint (of toller import or train), but "
      "for "
      "what is given here");
  add("tokenizer", po::value<std::string>()->value_name("FILE"),
      "tokenizer to use: a tokenizer.json (WordPiece, byte-level BPE or Unigram), WordPiece's vocab.txt, or "
      "a "
      "sentencepiece model");
  add("train-tokenizer", po::value<std::int32_t>()->value_name("N"),
      "train a tokenizer of N pieces on the collection instead, and write it beside the store as "
      ".tokenizer.json");
  add("cased", po::bool_switch(),
      "keep upper case, with --train-tokenizer or with a vocab.txt (where no tokenizer_config.json beside it "
      "says so)");
  add("max-length", po::value<std::int32_t>()->value_name("N"),
      "tokens a text, those of the prompt and special ones included; longer texts are cut; default: the "
      "model's, or 128");
  add("query-max-length", po::value<std::int32_t>()->value_name("N"), "the same, of queries alone");
  add("document-max-length", po::value<std::int32_t>()->value_name("N"), "the same, of documents alone");
  add("query-prompt", po::value<std::string>()->value_name("TEXT"),
      "written before every query, as it is (\"query: \")");
  add("document-prompt", po::value<std::string>()->value_name("TEXT"), "written before every document");
  add("threads", po::value<int>()->default_value(0, "all")->value_name("N"), "threads for tokenizing");
  add("json", po::value<std::string>()->value_name("FILE"), "write the figures to FILE");
  return options;
}

constexpr const char* kDescription =
    "Tokenizes a collection once, into the store that training and evaluation read. The forms of "
    "collections, of\n"
    "which any file may be compressed (.gz, .zst), with examples in docs/formats.md:\n"
    "  BEIR           corpus.jsonl, queries.jsonl, qrels/<split>.tsv\n"
    "  training data  <split>.jsonl, lines such as\n"
    "                   {\"query\": …, \"positive_passages\": [{\"docid\": …, \"text\": …}], "
    "\"negative_passages\": […]}\n"
    "                   {\"query\": …, \"pos\": […], \"neg\": […], \"pos_scores\": […], \"neg_scores\": "
    "[…]}\n"
    "                   {\"anchor\": …, \"positive\": …, \"negative\": …}\n"
    "                   [query, positive] or [query, positive, negative]\n"
    "                 <split>.tsv with columns query (or anchor), positive, negative, negative_1 …\n"
    "  scored pairs   pairs/<split>.tsv, or <split>.tsv with columns score, sentence1, sentence2, or the "
    "STS\n"
    "                 benchmark's sts-<split>.csv\n"
    "PATH may also be one .jsonl, .json, .tsv or .csv file, which is then the split train.\n"
    "Tokens of a large collection are kept in FILE.partial meanwhile: if it is interrupted, the same command "
    "goes on.";

constexpr std::int32_t kDefaultLength = 128;

struct PrepareOptions {
  fs::path collection;
  std::string columns;
  fs::path out;
  std::string model_tokenizer;  ///< serialised, out of a checkpoint; empty: none is given
  fs::path tokenizer;           ///< empty: that of the model, or train one
  bool cased = false;
  Tokenizer::TrainOptions training;
  TextForm form;
  int threads = 0;
};

/// What is given of a side, the rest as `form` has it.
SideForm read_side(const po::variables_map& values, const std::string& side, SideForm form) {
  for (const std::string& option : {std::string("max-length"), side + "-max-length"}) {
    if (values.count(option) == 0) continue;
    form.max_length = values[option].as<std::int32_t>();
    if (form.max_length < 3 || form.max_length > 1'000'000) {
      fail_usage("--{} {}: must lie between 3 and 1000000", option, form.max_length);
    }
  }
  const std::string option = side + "-prompt";
  if (values.count(option) != 0) form.prompt = values[option].as<std::string>();
  constexpr std::size_t kMostOfPrompt = 4096;
  if (form.prompt.size() > kMostOfPrompt) {
    fail_usage("--{}: {} bytes, more than {}", option, form.prompt.size(), kMostOfPrompt);
  }
  return form;
}

TextForm read_form(const po::variables_map& values, const TextForm& form) {
  return {read_side(values, "query", form.queries), read_side(values, "document", form.documents)};
}

/// Tokenizer and form of a checkpoint, the form changed to what is given.
void read_model(const po::variables_map& values, PrepareOptions& options) {
  const CheckpointReader model(resolve_checkpoint(required_option(values, "model")));
  const CheckpointMeta& meta = model.meta();
  options.model_tokenizer = meta.tokenizer;
  if (meta.tokenizer.empty()) fail("{}: holds no tokenizer", model.path().string());
  const std::int32_t most = meta.encoder.max_tokens();
  options.form = meta.form;
  for (SideForm* side : {&options.form.queries, &options.form.documents}) {
    if (side->max_length == 0) side->max_length = most;
  }
  options.form = read_form(values, options.form);
  const std::int32_t longest = std::max(options.form.queries.max_length, options.form.documents.max_length);
  if (longest > most) {
    fail_usage("texts of {} tokens are too long for {}, which takes {}", longest, model.path().string(),
               most);
  }
}

PrepareOptions read_options(const po::variables_map& values) {
  PrepareOptions options;
  options.collection = required_option(values, "collection");
  if (values.count("columns") != 0) options.columns = required_option(values, "columns");
  options.out = required_option(values, "out");
  const bool given = values.count("tokenizer") != 0, trains = values.count("train-tokenizer") != 0;
  const bool has_model = values.count("model") != 0;
  if (given + trains + has_model != 1) {
    fail_usage("give one of --model FILE, --tokenizer FILE and --train-tokenizer N");
  }
  if (given) options.tokenizer = required_option(values, "tokenizer");
  if (trains) options.training.vocabulary_size = values["train-tokenizer"].as<std::int32_t>();
  options.cased = values["cased"].as<bool>();
  options.training.lower_case = !options.cased;
  if (!trains && options.cased && options.tokenizer.extension() != ".txt") {
    fail_usage(
        "--cased is for --train-tokenizer and for a vocab.txt; other files say themselves what is kept");
  }
  const SideForm side{.prompt = "", .max_length = kDefaultLength};
  options.form = read_form(values, {side, side});
  if (has_model) read_model(values, options);
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
  if (!options.model_tokenizer.empty()) {
    return Tokenizer::from_bytes(options.model_tokenizer, "the tokenizer of --model");
  }
  if (!options.tokenizer.empty()) return Tokenizer::load(options.tokenizer.string(), options.cased);
  const Stopwatch watch;
  const std::vector<std::string> texts = training_texts(collection, options.training.max_sentences);
  fmt::print("training a tokenizer of {} pieces on {} texts\n", options.training.vocabulary_size,
             texts.size());
  std::fflush(stdout);
  Tokenizer tokenizer = Tokenizer::train(texts, options.training);
  const fs::path path = fs::path(options.out).replace_extension(".tokenizer.json");
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
  const double texts_per_second = (texts - static_cast<double>(counts.kept_texts)) / seconds;
  const double tokens_per_second = (tokens - static_cast<double>(counts.kept_tokens)) / seconds;
  fmt::print("tokenized {} texts: {:.0f} texts/s, {:.0f} tokens/s\n", counts.texts - counts.kept_texts,
             texts_per_second, tokens_per_second);
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
  figures["kept_texts"] = counts.kept_texts;
  figures["texts_per_second"] = texts_per_second;
  figures["tokens_per_second"] = tokens_per_second;
}

Collection read_texts(const PrepareOptions& options) {
  const Stopwatch watch;
  PrepareProgress progress;
  Collection collection = read_collection(options.collection, {options.columns, progress.reading()});
  progress.restart();
  for (const std::string& note : collection.notes) progress.say(note);
  const bool pairs = collection.task == Task::kSimilarity;
  std::string splits;
  for (const auto& [name, judgements] : collection.splits) {
    splits += fmt::format("{}{} ({} {})", splits.empty() ? "" : ", ", name, judgements.size(),
                          pairs ? "scored pairs" : "judgements");
  }
  progress.say(fmt::format("read {}: {} {}, {} {}; {}; {:.1f} s", options.collection.string(),
                           collection.documents.size(), pairs ? "second sentences" : "documents",
                           collection.queries.size(), pairs ? "first sentences" : "queries", splits,
                           watch.seconds()));
  return collection;
}

void prepare(const PrepareOptions& options, nlohmann::ordered_json& figures) {
  const Stopwatch watch;
  const Collection collection = read_texts(options);
  const Tokenizer tokenizer = make_tokenizer(options, collection, figures);
  const auto write = [&] {
    PrepareProgress progress;
    return write_token_store(collection, tokenizer, options.form, options.threads, options.out,
                             progress.storing());
  };
  report(write(), figures);
  figures["seconds"] = watch.seconds();
  fmt::print("written to {} ({:.1f} MB) after {:.1f} s in all\n", options.out.string(),
             static_cast<double>(fs::file_size(options.out)) / 1e6, watch.seconds());
}

/// Ends as the signal would have ended it, now that nothing half-written is left.
[[noreturn]] void end_by(int signal, const fs::path& out) {
  const fs::path kept = kept_tokens_path(out);
  const std::string goes_on =
      fs::exists(kept) ? fmt::format("; the same command goes on with the tokens in {}", kept.string()) : "";
  std::fputs(fmt::format("toller prepare: interrupted by signal {}{}\n", signal, goes_on).c_str(), stderr);
  std::fflush(nullptr);
  std::raise(signal);
  std::_Exit(128 + signal);
}

}  // namespace

int run_prepare(CommandContext& context) {
  const auto values =
      parse_options(context, "toller prepare --collection PATH --out store.h5 --train-tokenizer N [options]",
                    kDescription, declare_options());
  if (!values) return 0;
  const PrepareOptions options = read_options(*values);
  if (!is_root(context)) return 0;

  if (options.out.has_parent_path()) {
    std::error_code error;
    fs::create_directories(options.out.parent_path(), error);
    if (error) fail("{}: cannot create the folder: {}", options.out.parent_path().string(), error.message());
  }
  nlohmann::ordered_json figures;
  try {
    prepare(options, figures);
  } catch (const Interrupted& interrupted) {
    end_by(interrupted.signal, options.out);
  }
  if (values->count("json") != 0) {
    AtomicFileWriter file((*values)["json"].as<std::string>());
    file.write(figures.dump(2) + '\n');
    file.commit();
  }
  return 0;
}

}  // namespace toller
