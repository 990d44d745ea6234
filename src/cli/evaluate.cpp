#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "checkpoint/run_checkpoints.h"
#include "cli/command.h"
#include "cli/open_embedder.h"
#include "cli/result_file.h"
#include "comm/communicator.h"
#include "data/token_store.h"
#include "device/cpu/threads.h"
#include "error.h"
#include "eval/evaluation.h"
#include "eval/run_evaluation.h"
#include "eval/similarity_evaluation.h"

namespace toller {
namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

constexpr const char* kUsage =
    "toller evaluate --model FILE --data STORE --split NAME [options]\n"
    "       toller evaluate --bm25 --data STORE --split NAME [options]\n"
    "       toller evaluate --qrels FILE --run FILE [options]";
constexpr const char* kDescription =
    "Searches the whole collection of a token store for the queries of a split, with a model or with BM25, "
    "and\n"
    "prints nDCG, MRR, recall, MAP and AUC, or, of a store of scored pairs, the correlation of cosines and "
    "scores;\n"
    "under mpirun the ranks share the work. Or evaluates a run file "
    "against\n"
    "judgements and prints the measures as trec_eval does (--gain linear gives trec_eval's nDCG).";

po::options_description search_options(DeviceOptions& device) {
  po::options_description options("Evaluate a model or BM25");
  auto add = options.add_options();
  add("model", po::value<std::string>()->value_name("FILE"),
      "checkpoint, or the folder of a run (its last checkpoint)");
  add("bm25", po::bool_switch(), "BM25 instead of a model");
  add_truncate_option(options);
  add("data", po::value<std::string>()->value_name("FILE"), "token store that `toller prepare` wrote");
  add("split", po::value<std::string>()->default_value("test")->value_name("NAME"), "split of the store");
  add("top-k", po::value<std::int64_t>()->default_value(1000)->value_name("N"), "hits a query, at least 100");
  add("k1", po::value<double>()->default_value(1.2, "1.2")->value_name("X"),
      "BM25: saturation of term frequency");
  add("b", po::value<double>()->default_value(0.75, "0.75")->value_name("X"),
      "BM25: weight of document length");
  add("run-file", po::value<std::string>()->value_name("FILE"), "write the hits as a TREC run");
  add("threads", po::value<int>()->default_value(0, "auto")->value_name("N"), "threads a rank");
  add_device_options(options, device);
  return options;
}

po::options_description run_options() {
  po::options_description options("Evaluate a run file");
  auto add = options.add_options();
  add("qrels", po::value<std::string>()->value_name("FILE"), "judgements, in TREC's or BEIR's form");
  add("run", po::value<std::string>()->value_name("FILE"), "rankings, in TREC's form");
  add("complete", po::bool_switch(), "average over all judged queries, those without ranking counting 0");
  add("level", po::value<int>()->default_value(1)->value_name("N"), "lowest grade that is relevant");
  add("per-query", po::bool_switch(), "print each query's values too");
  return options;
}

po::options_description common_options() {
  po::options_description options("Both");
  auto add = options.add_options();
  add("gain", po::value<std::string>()->default_value("exponential")->value_name("NAME"),
      "of nDCG: exponential (2^grade - 1) or linear (grade)");
  add("json", po::value<std::string>()->value_name("FILE"), "write the results to FILE");
  return options;
}

/// Refuses options of the other way of use instead of ignoring them.
void refuse(const po::variables_map& values, const po::options_description& options, const char* with) {
  for (const auto& option : options.options()) {
    if (is_given(values, option->long_name())) {
      fail_usage("--{} has no meaning with {}", option->long_name(), with);
    }
  }
}

Gain read_gain(const po::variables_map& values) {
  const std::string name = values["gain"].as<std::string>();
  if (name == "exponential") return Gain::kExponential;
  if (name == "linear") return Gain::kLinear;
  fail_usage("--gain {}: expected exponential or linear", name);
}

/// A model on its device, for a store. `origin` says which.
std::unique_ptr<Embedder> open_model(const po::variables_map& values, const DeviceOptions& device,
                                     const TokenStore& store, const CommandContext& context,
                                     nlohmann::ordered_json& origin) {
  const CheckpointReader model(resolve_checkpoint(required_option(values, "model")));
  check_same_texts(model, store);
  origin = {{"model", model.path().string()}, {"step", model.meta().step}};
  auto embedder = open_embedder(model, device, context, values["truncate"].as<std::int64_t>());
  origin["dimension"] = embedder->dimension();
  return embedder;
}

Evaluation evaluate_with(const po::variables_map& values, const DeviceOptions& device,
                         const TokenStore& store, const Split& split, const CommandContext& context,
                         nlohmann::ordered_json& origin) {
  const EvaluationOptions options{.top_k = values["top-k"].as<std::int64_t>(), .gain = read_gain(values)};
  if (values["bm25"].as<bool>()) {
    const Bm25Options bm25{.k1 = values["k1"].as<double>(), .b = values["b"].as<double>()};
    origin = {{"model", "bm25"}, {"k1", bm25.k1}, {"b", bm25.b}};
    return evaluate_bm25(read_store_texts(store.path), store, split, options, bm25, context.communicator);
  }
  const auto embedder = open_model(values, device, store, context, origin);
  return evaluate_model(*embedder, store, split, options, context.communicator);
}

void print_table(const Evaluation& evaluation, const nlohmann::ordered_json& origin) {
  fmt::print("{}{} on {}, split {}: {} queries, {} documents\n\n", origin["model"].get<std::string>(),
             origin.contains("step") ? fmt::format(" (step {})", origin["step"].get<std::int64_t>()) : "",
             origin["data"].get<std::string>(), origin["split"].get<std::string>(), evaluation.queries,
             evaluation.documents);
  for (const auto& [name, value] : evaluation.metrics) fmt::print("  {:<14}{:.4f}\n", name, value);
  fmt::print("\n{:.1f} s to {}, {:.1f} s to search, {:.1f} s for AUC\n", evaluation.encode_seconds,
             origin["model"] == "bm25" ? "index" : "encode", evaluation.search_seconds,
             evaluation.auc_seconds);
}

void print_correlations(const SimilarityEvaluation& evaluation, const nlohmann::ordered_json& origin) {
  fmt::print("{} (step {}) on {}, split {}: {} pairs\n\n", origin["model"].get<std::string>(),
             origin["step"].get<std::int64_t>(), origin["data"].get<std::string>(),
             origin["split"].get<std::string>(), evaluation.pairs);
  for (const auto& [name, value] :
       {std::pair{"spearman", evaluation.spearman}, {"pearson", evaluation.pearson}}) {
    fmt::print("  {:<14}{}\n", name, value ? fmt::format("{:.4f}", *value) : "not defined");
  }
  fmt::print("\n{:.1f} s to encode\n", evaluation.encode_seconds);
}

int evaluate_pairs(const CommandContext& context, const po::variables_map& values,
                   const DeviceOptions& device, const TokenStore& store, const Split& split,
                   std::unique_ptr<AtomicFileWriter> json_file) {
  for (const char* name : {"bm25", "run-file", "top-k", "gain"}) {
    if (is_given(values, name)) {
      fail_usage("--{} has no meaning with the scored pairs of {}", name, store.path.string());
    }
  }
  nlohmann::ordered_json origin;
  const auto embedder = open_model(values, device, store, context, origin);
  const SimilarityEvaluation evaluation = evaluate_similarity(*embedder, store, split, context.communicator);
  if (!is_root(context)) return 0;
  origin["data"] = store.path.string();
  origin["split"] = split.name;
  print_correlations(evaluation, origin);
  origin.update(to_json(evaluation));
  write_json(std::move(json_file), origin);
  return 0;
}

int evaluate_search(const CommandContext& context, const po::variables_map& values,
                    const DeviceOptions& device) {
  refuse(values, run_options(), "--data");
  if (values["bm25"].as<bool>() == (values.count("model") != 0))
    fail_usage("give one of --model FILE and --bm25");
  if (!values["bm25"].as<bool>() && (is_given(values, "k1") || is_given(values, "b"))) {
    fail_usage("--k1 and --b are for --bm25");
  }
  if (values["bm25"].as<bool>() && is_given(values, "truncate")) fail_usage("--truncate is for --model");
  std::unique_ptr<AtomicFileWriter> json_file;
  if (is_root(context)) {
    json_file = open_output(values, "json");
    open_output(values, "run-file");
  }
  set_threads(values["threads"].as<int>());
  const TokenStore store = read_token_store(required_option(values, "data"));
  const Split& split = store.split(required_option(values, "split"));
  if (store.task == Task::kSimilarity) {
    return evaluate_pairs(context, values, device, store, split, std::move(json_file));
  }
  nlohmann::ordered_json origin;
  const Evaluation evaluation = evaluate_with(values, device, store, split, context, origin);
  if (!is_root(context)) return 0;

  origin["data"] = store.path.string();
  origin["split"] = split.name;
  origin["gain"] = values["gain"].as<std::string>();
  print_table(evaluation, origin);
  if (values.count("run-file") != 0) {
    const std::string tag = values["bm25"].as<bool>() ? "bm25" : "toller";
    write_trec_run(to_trec_run(evaluation, store, tag), required_option(values, "run-file"));
  }
  origin.update(to_json(evaluation));
  write_json(std::move(json_file), origin);
  return 0;
}

void print_as_trec_eval(const Metric& metric, const std::string& query, double value) {
  const int digits = metric.averaging == Averaging::kSum ? 0 : 4;
  fmt::print("{:<22}\t{}\t{:.{}f}\n", metric.name, query, value, digits);
}

nlohmann::ordered_json named(const RunEvaluation& evaluation, const std::vector<double>& values) {
  nlohmann::ordered_json json;
  for (std::size_t i = 0; i < values.size(); ++i) json[evaluation.metrics[i].name] = values[i];
  return json;
}

int evaluate_run_file(const CommandContext& context, const po::variables_map& values) {
  DeviceOptions unused;
  refuse(values, search_options(unused), "--qrels and --run");
  const int level = values["level"].as<int>();
  if (level < 1 || level > kHighestGrade)
    fail_usage("--level {}: must lie between 1 and {}", level, kHighestGrade);
  const Gain gain = read_gain(values);
  const std::string qrels = required_option(values, "qrels"), run_file = required_option(values, "run");
  if (!is_root(context)) return 0;

  std::unique_ptr<AtomicFileWriter> json_file = open_output(values, "json");
  const TrecRun run = read_trec_run(run_file);
  const RunEvaluation evaluation =
      evaluate_run(read_qrels(qrels), run, trec_metrics(), {.relevance_level = level, .gain = gain},
                   values["complete"].as<bool>());
  nlohmann::ordered_json json{{"run", run_file}, {"qrels", qrels}, {"queries", evaluation.queries}};
  json["all"] = named(evaluation, evaluation.averages);
  for (const auto& [query, list] : evaluation.by_query) {
    // trec_eval prints geometric means for all queries only.
    for (std::size_t i = 0; values["per-query"].as<bool>() && i < list.size(); ++i) {
      const Metric& metric = evaluation.metrics[i];
      if (metric.averaging != Averaging::kGeometricMean) print_as_trec_eval(metric, query, list[i]);
    }
    json["per_query"][query] = named(evaluation, list);
  }
  fmt::print("{:<22}\tall\t{}\n{:<22}\tall\t{}\n", "runid", run.tag, "num_q", evaluation.queries);
  for (std::size_t i = 0; i < evaluation.metrics.size(); ++i) {
    print_as_trec_eval(evaluation.metrics[i], "all", evaluation.averages[i]);
  }
  write_json(std::move(json_file), json);
  return 0;
}

}  // namespace

int run_evaluate(CommandContext& context) {
  DeviceOptions device;
  po::options_description options;
  options.add(search_options(device)).add(run_options()).add(common_options());
  auto values = parse_options(context, kUsage, kDescription, options);
  if (!values) return 0;
  po::notify(*values);
  if (values->count("qrels") != 0 || values->count("run") != 0) return evaluate_run_file(context, *values);
  return evaluate_search(context, *values, device);
}

}  // namespace toller
