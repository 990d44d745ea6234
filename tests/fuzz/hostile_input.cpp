#include "fuzz/hostile_input.h"

#include <unistd.h>

#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "checkpoint/checkpoint.h"
#include "checkpoint/pretrained_folder.h"
#include "data/collection.h"
#include "data/token_store.h"
#include "error.h"
#include "io/safetensors.h"
#include "model/config.h"
#include "safetensors_bytes.h"
#include "text/tokenizer.h"
#include "train/training_options.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

/// A folder of this process, empty at the beginning.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / fmt::format("toller-hostile-{}", ::getpid())) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string_view text_of(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Whether the action went without Error.
template <class Action>
bool succeeds(Action action) {
  try {
    action();
    return true;
  } catch (const Error&) {
    return false;  // the file is at fault, and was told so
  }
}

void write_file(const fs::path& path, std::string_view text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

/// A sound collection, one of whose files is to be replaced.
void write_sound_collection(const fs::path& folder) {
  write_file(folder / "corpus.jsonl",
             "{\"_id\":\"d1\",\"title\":\"a\",\"text\":\"b\"}\n{\"_id\":\"d2\",\"text\":\"c\"}\n");
  write_file(folder / "queries.jsonl", "{\"_id\":\"q1\",\"text\":\"x\"}\n");
  write_file(folder / "qrels/train.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\n");
}

constexpr const char* kSoundExample =
    R"({"query_id":"q1","query":"x","positive_passages":[{"docid":"d1","title":"a","text":"b"}]})";

/// A sound folder of sentence-transformers, one of whose files is to be replaced.
void write_sound_model(const fs::path& folder) {
  write_file(folder / "config.json",
             R"({"model_type":"bert","vocab_size":6,"hidden_size":2,"num_hidden_layers":1,)"
             R"("num_attention_heads":1,"intermediate_size":3})");
  write_file(folder / "modules.json",
             R"([{"path":"","type":"sentence_transformers.models.Transformer"},)"
             R"({"path":"1_Pooling","type":"sentence_transformers.models.Pooling"}])");
  write_file(folder / "1_Pooling/config.json", R"({"pooling_mode":"mean"})");
  write_file(folder / "vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n");
}

/// All tensors of types that are read.
void read_tensors(const SafetensorsReader& reader) {
  for (const auto& [name, info] : reader.tensors()) {
    if (info.type == SafetensorsType::kOther) continue;
    std::vector<float> values(static_cast<std::size_t>(info.elements));
    reader.read(name, 0, std::span(values));
  }
}

}  // namespace

bool read_as_checkpoint(std::span<const std::uint8_t> bytes) {
  const Folder folder;
  write_file(folder.path() / "hostile.h5", text_of(bytes));
  return succeeds([&] {
    const CheckpointReader reader(folder.path() / "hostile.h5");
    std::vector<float> values(static_cast<std::size_t>(reader.table().size())), v(values.size());
    reader.read_parameters(std::span<float>(values));
    if (reader.has_optimizer()) reader.read_moments(std::span<float>(values), std::span<float>(v));
  });
}

bool read_as_store(std::span<const std::uint8_t> bytes) {
  const Folder folder;
  write_file(folder.path() / "hostile.h5", text_of(bytes));
  return succeeds([&] { read_token_store(folder.path() / "hostile.h5"); });
}

bool read_as_collection(std::span<const std::uint8_t> bytes) {
  constexpr std::array<const char*, 10> kFiles = {
      "corpus.jsonl", "queries.jsonl", "qrels/train.tsv", "pairs/train.tsv", "sts-train.csv",
      "train.jsonl",  "train.tsv",     "train.tsv.gz",    "train.jsonl.zst", "dev.jsonl"};
  if (bytes.empty()) return false;
  const std::size_t which = bytes[0] % kFiles.size();
  const Folder folder;
  if (which < 3) write_sound_collection(folder.path());
  if (which == 9) write_file(folder.path() / "train.jsonl", kSoundExample);
  write_file(folder.path() / kFiles[which], text_of(bytes.subspan(1)));
  return succeeds([&] { read_collection(folder.path()); });
}

bool read_as_safetensors(std::span<const std::uint8_t> bytes) {
  if (bytes.empty()) return false;
  const bool is_index = bytes[0] % 2 == 1;
  const Folder folder;
  const fs::path path = folder.path() / (is_index ? "index.json" : "1.safetensors");
  for (const char* name : {"1", "2"}) {
    const std::string header =
        fmt::format(R"({{"{}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}})", name);
    write_file(folder.path() / fmt::format("{}.safetensors", name), safetensors_bytes(header, "data"));
  }
  write_file(path, text_of(bytes.subspan(1)));
  return succeeds([&] { read_tensors(SafetensorsReader(path)); });
}

bool read_as_pretrained(std::span<const std::uint8_t> bytes) {
  constexpr std::array<const char*, 7> kFiles = {"config.json",
                                                 "modules.json",
                                                 "1_Pooling/config.json",
                                                 "sentence_bert_config.json",
                                                 "tokenizer_config.json",
                                                 "special_tokens_map.json",
                                                 "config_sentence_transformers.json"};
  if (bytes.empty()) return false;
  const Folder folder;
  write_sound_model(folder.path());
  write_file(folder.path() / kFiles[bytes[0] % kFiles.size()], text_of(bytes.subspan(1)));
  return succeeds([&] { read_pretrained_folder(folder.path(), {}); });
}

bool read_as_tokenizer(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view kText =
      "ab'S  e\u0301\u00E9\u2122\u0301\r\n\u0915\u094D\u0937 <s>[MASK] \xFF\u1100\u1161 12 \u2581\u4E09";
  return succeeds([&] {
    // A .model is read by our conversion alone, not by sentencepiece.
    const std::string json = as_tokenizer_json(std::string(text_of(bytes)), "hostile");
    const Tokenizer tokenizer = Tokenizer::from_bytes(json, "hostile");
    tokenizer.decode(tokenizer.encode(kText, 64));
    if (Tokenizer::from_bytes(tokenizer.bytes(), "hostile").bytes() != tokenizer.bytes()) {
      throw std::logic_error("a tokenizer is not what it was when it is read again");
    }
  });
}

bool read_as_config(std::span<const std::uint8_t> bytes) {
  const nlohmann::json json = nlohmann::json::parse(bytes.begin(), bytes.end(), nullptr, false);
  if (json.is_discarded()) return false;
  const bool is_encoder = succeeds([&] { encoder_config_from_json(json, "hostile").validate(); });
  const bool are_options = succeeds([&] { training_options_from_json(json, "hostile").validate(); });
  return is_encoder || are_options;
}

}  // namespace toller
