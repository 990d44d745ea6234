#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.h"
#include "checkpoint/checkpoint_tensors.h"
#include "checkpoint/run_checkpoints.h"
#include "cli/command.h"
#include "data/text_file.h"
#include "data/token_store.h"
#include "error.h"
#include "io/hdf5_file.h"

namespace toller {
namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;
using Json = nlohmann::ordered_json;

constexpr const char* kUsage = "toller inspect FILE [--json FILE]";
constexpr const char* kDescription =
    "Says what a checkpoint, a token store or a file of embeddings holds, and verifies every checksum.\n"
    "A run folder stands for its last checkpoint. The exit status is 1 if anything is damaged.\n";

po::options_description declare_options() {
  po::options_description options("Options");
  options.add_options()("json", po::value<std::string>()->value_name("FILE"), "write all of it to FILE")(
      "file", po::value<std::string>()->value_name("FILE"), "the file; the same as the word without a flag");
  return options;
}

/// Runs `action`; what it finds damaged is added to the list.
template <class Action>
void note_damage(Json& damaged, Action action) {
  try {
    action();
  } catch (const Error& error) {
    const std::string message = error.what();
    if (std::ranges::find(damaged, Json(message)) == damaged.end()) damaged.push_back(message);
  }
}

/// Describes and verifies all data sets below a group.
void inspect_group(const Hdf5Reader& file, const std::string& group, Json& datasets, Json& damaged) {
  for (const std::string& member : file.list(group)) {
    const std::string name = group + "/" + member;
    note_damage(damaged, [&] {
      if (file.is_group(name)) return inspect_group(file, name, datasets, damaged);
      const DatasetInfo info = file.info(name);
      Json& entry = datasets.emplace_back(Json{{"file", file.path().filename().string()},
                                               {"name", name},
                                               {"type", element_name(info.type)},
                                               {"shape", info.shape},
                                               {"checksum", "wrong"}});
      file.verify(name);
      entry["checksum"] = "verified";
    });
  }
}

/// Lists the parts that a manifest names, and verifies their data sets.
void inspect_parts(const Hdf5Reader& manifest, Json& result, Json& datasets, Json& damaged) {
  const std::vector<CheckpointPart> parts = list_parts(manifest);
  if (!parts.empty()) result["parts"] = Json::array();
  for (const CheckpointPart& part : parts) {
    result["parts"].push_back({{"file", part.file}, {"bytes", part.bytes}});
    note_damage(damaged, [&] {
      const Hdf5Reader file(fs::path(manifest.path()).replace_filename(part.file));
      inspect_group(file, "", datasets, damaged);
    });
  }
}

Json tensor_statistics(const CheckpointReader& reader, const TensorView& tensor) {
  std::vector<double> values(static_cast<std::size_t>(tensor.size));
  reader.read_tensor(tensor, std::span(values));
  double squares = 0;
  for (const double value : values) squares += value * value;
  const auto [least, greatest] = std::ranges::minmax(values);
  return {{"name", tensor.name},        {"shape", tensor.shape}, {"type", element_name(reader.type())},
          {"norm", std::sqrt(squares)}, {"min", least},          {"max", greatest}};
}

void inspect_checkpoint(const fs::path& path, Json& result) {
  const CheckpointReader reader(path);
  const CheckpointMeta& meta = reader.meta();
  result["step"] = meta.step;
  result["parameters"] = reader.table().size();
  result["optimizer"] = reader.has_optimizer();
  result["tokenizer_bytes"] = meta.tokenizer.size();
  result["texts"] = to_json(meta.form);
  result["encoder"] = to_json(meta.encoder);
  result["training"] = meta.training;
  result["state"] = meta.state;
  result["origin"] = meta.origin;
  result["tensors"] = Json::array();
  for (const TensorView& tensor : reader.table().tensors()) {
    note_damage(result["damaged"], [&] { result["tensors"].push_back(tensor_statistics(reader, tensor)); });
  }
}

void inspect_store(const fs::path& path, Json& result) {
  const TokenStore store = read_token_store(path);
  result["task"] = task_name(store.task);
  result["documents"] = store.documents.rows();
  result["document_tokens"] = store.documents.tokens.size();
  result["queries"] = store.queries.rows();
  result["query_tokens"] = store.queries.tokens.size();
  result["vocabulary_size"] = store.vocabulary_size;
  result["max_length"] = store.max_length;
  result["texts"] = to_json(store.form);
  for (const auto& [name, split] : store.splits) {
    if (store.task == Task::kSimilarity) {
      const auto [least, greatest] = std::ranges::minmax(split.score);
      result["splits"][name] = {
          {"pairs", split.score.size()}, {"least_score", least}, {"greatest_score", greatest}};
      continue;
    }
    const auto relevant = std::ranges::count_if(split.grade, [](std::int32_t grade) { return grade > 0; });
    result["splits"][name] = {
        {"queries", split.size()}, {"judgements", split.document.size()}, {"relevant", relevant}};
    if (!split.score.empty()) result["splits"][name]["teacher_scores"] = true;
  }
}

Json inspect_file(const fs::path& path) {
  const Hdf5Reader file(path);
  Json result{{"file", path.string()}, {"kind", "unknown"}, {"format_version", nullptr}};
  Json datasets = Json::array(), damaged = Json::array();
  note_damage(damaged, [&] {
    if (file.has_attribute("kind")) result["kind"] = file.attribute_string("kind");
    if (file.has_attribute("format_version")) result["format_version"] = file.attribute_int("format_version");
  });
  note_damage(damaged, [&] { inspect_group(file, "", datasets, damaged); });
  if (result["kind"] == "checkpoint") {
    note_damage(damaged, [&] { inspect_parts(file, result, datasets, damaged); });
  }
  result["damaged"] = std::move(damaged);
  note_damage(result["damaged"], [&] {
    if (result["kind"] == "checkpoint") inspect_checkpoint(path, result);
    if (result["kind"] == "token_store") inspect_store(path, result);
  });
  result["datasets"] = std::move(datasets);
  return result;
}

std::string shape_of(const Json& entry) {
  return fmt::format("[{}]", fmt::join(entry["shape"].get<std::vector<std::int64_t>>(), ", "));
}

void print_tensors(const Json& tensors) {
  std::size_t width = 6;
  for (const Json& tensor : tensors)
    width = std::max(width, tensor["name"].get_ref<const std::string&>().size());
  fmt::print("\n{:<{}}  {:<14} {:>10} {:>10} {:>10}\n", "tensor", width, "shape", "norm", "min", "max");
  for (const Json& tensor : tensors) {
    fmt::print("{:<{}}  {:<14} {:>10.4g} {:>10.4g} {:>10.4g}\n", tensor["name"].get<std::string>(), width,
               shape_of(tensor), tensor["norm"].get<double>(), tensor["min"].get<double>(),
               tensor["max"].get<double>());
  }
}

/// All but the tables, one fact a line.
void print_facts(const Json& result) {
  for (const auto& [key, value] : result.items()) {
    if (key == "file" || key == "tensors" || key == "datasets" || key == "damaged" || value.is_null())
      continue;
    if (key == "parts") {
      for (const Json& part : value) fmt::print("part: {}\n", part.dump());
      continue;
    }
    if (key == "encoder" || key == "splits") {
      for (const auto& [name, detail] : value.items()) fmt::print("{} {}: {}\n", key, name, detail.dump());
      continue;
    }
    fmt::print("{}: {}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
  }
}

void print_result(const Json& result) {
  fmt::print("{}\n", result["file"].get<std::string>());
  print_facts(result);
  if (result.contains("tensors")) {
    print_tensors(result["tensors"]);
  } else {
    fmt::print("\n{:<32} {:<8} {:<16} checksum\n", "data set", "type", "shape");
    for (const Json& entry : result["datasets"]) {
      fmt::print("{:<32} {:<8} {:<16} {}\n", entry["name"].get<std::string>(),
                 entry["type"].get<std::string>(), shape_of(entry), entry["checksum"].get<std::string>());
    }
  }
  const auto verified = std::ranges::count_if(
      result["datasets"], [](const Json& entry) { return entry["checksum"] == "verified"; });
  fmt::print("\n{} of {} data sets verified by their checksums\n", verified, result["datasets"].size());
}

}  // namespace

int run_inspect(CommandContext& context) {
  const auto values = parse_options(context, kUsage, kDescription, declare_options(), "file");
  if (!values) return 0;
  const std::string path = required_option(*values, "file");
  if (!is_root(context)) return 0;
  std::unique_ptr<AtomicFileWriter> json_file;
  if (values->count("json") != 0)
    json_file = std::make_unique<AtomicFileWriter>(required_option(*values, "json"));
  const Json result = inspect_file(resolve_checkpoint(path));
  if (json_file != nullptr) {
    json_file->write(result.dump(2, ' ', false, Json::error_handler_t::replace) + '\n');
    json_file->commit();
  }
  print_result(result);
  if (result["damaged"].empty()) return 0;
  fail("damaged: {}", fmt::join(result["damaged"].get<std::vector<std::string>>(), "; "));
}

}  // namespace toller
