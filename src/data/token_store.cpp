#include "data/token_store.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>
#include <unordered_map>

#include "error.h"
#include "io/hdf5_file.h"

namespace toller {
namespace {

/// Reads the data sets of one store and says where they are wrong.
class StoreReader {
 public:
  explicit StoreReader(const std::filesystem::path& path) : file_(path) {
    const std::string kind = file_.has_attribute("kind") ? file_.attribute_string("kind") : "";
    if (kind != "token_store") {
      fail("{}: not a token store (attribute kind is \"{}\"); make one with toller prepare", name(), kind);
    }
    const std::int64_t version = file_.attribute_int("format_version");
    if (version != kTokenStoreVersion) {
      fail("{}: format_version is {}, this program reads {}; run toller prepare again", name(), version,
           kTokenStoreVersion);
    }
  }

  const Hdf5Reader& file() const { return file_; }

  [[noreturn]] void fail_in(const std::string& data_set, const std::string& message) const {
    fail("{}: {}: {}", name(), data_set, message);
  }

  /// A positive attribute that fits 32 bits.
  std::int32_t positive_attribute(const char* attribute) const {
    const std::int64_t value = file_.attribute_int(attribute);
    if (value < 1 || value > INT32_MAX) fail("{}: attribute {} is {}", name(), attribute, value);
    return static_cast<std::int32_t>(value);
  }

  /// Offsets of ragged rows into `elements` elements: from 0, always rising, up to `elements`.
  std::vector<std::int64_t> offsets(const std::string& data_set, std::int64_t elements) const {
    std::vector<std::int64_t> offsets = file_.read<std::int64_t>(data_set);
    const auto size = static_cast<std::int64_t>(offsets.size());
    if (size < 2) fail_in(data_set, "has no rows");
    if (size - 1 > INT32_MAX) fail_in(data_set, "has more than 2^31 - 1 rows");
    if (offsets.front() != 0) fail_in(data_set, fmt::format("begins with {}, expected 0", offsets.front()));
    for (std::int64_t row = 0; row + 1 < size; ++row) {
      if (offsets[row + 1] < offsets[row] || offsets[row + 1] > elements) {
        fail_in(data_set, fmt::format("row {}: [{}, {}) is not a part of {} elements", row, offsets[row],
                                      offsets[row + 1], elements));
      }
      if (offsets[row + 1] == offsets[row]) fail_in(data_set, fmt::format("row {} is empty", row));
    }
    if (offsets.back() != elements) {
      fail_in(data_set, fmt::format("ends with {}, but there are {} elements", offsets.back(), elements));
    }
    return offsets;
  }

  /// Throws unless all values lie in [0, end); `offsets` tell the row of a value, `what` names one.
  void check_range(const std::vector<std::int32_t>& values, std::int32_t end, const std::string& data_set,
                   const std::vector<std::int64_t>& offsets, const char* what) const {
    const auto outside = [end](std::int32_t value) {
      return static_cast<std::uint32_t>(value) >= static_cast<std::uint32_t>(end);
    };
    const auto found = std::ranges::find_if(values, outside);
    if (found == values.end()) return;
    const auto position = static_cast<std::int64_t>(found - values.begin());
    const auto row = std::ranges::upper_bound(offsets, position) - offsets.begin() - 1;
    fail_in(data_set, fmt::format("row {}: {} {} lies outside [0, {})", row, what, *found, end));
  }

  /// Strings of a table: bytes and offsets.
  std::vector<std::string> strings(const std::string& bytes_name, const std::string& offsets_name,
                                   std::int64_t rows) const {
    const std::string bytes = file_.read_string(bytes_name);
    const auto begin = offsets(offsets_name, static_cast<std::int64_t>(bytes.size()));
    if (static_cast<std::int64_t>(begin.size()) != rows + 1) {
      fail_in(offsets_name, fmt::format("has {} rows, but the table has {}", begin.size() - 1, rows));
    }
    std::vector<std::string> strings;
    strings.reserve(static_cast<std::size_t>(rows));
    for (std::int64_t row = 0; row < rows; ++row) {
      strings.emplace_back(bytes, static_cast<std::size_t>(begin[row]),
                           static_cast<std::size_t>(begin[row + 1] - begin[row]));
    }
    return strings;
  }

  TokenTable table(const std::string& group, std::int32_t vocabulary_size) const {
    TokenTable table;
    table.tokens = file_.read<std::int32_t>(group + "/tokens");
    table.offsets = offsets(group + "/offsets", static_cast<std::int64_t>(table.tokens.size()));
    check_range(table.tokens, vocabulary_size, group + "/tokens", table.offsets, "token id");
    table.ids = strings(group + "/ids", group + "/id_offsets", table.rows());
    return table;
  }

  Split split(const std::string& split_name, const TokenStore& store) const {
    const std::string group = "/splits/" + split_name;
    Split split;
    split.name = split_name;
    split.query = file_.read<std::int32_t>(group + "/query");
    split.document = file_.read<std::int32_t>(group + "/document");
    const auto judgements = static_cast<std::int64_t>(split.document.size());
    split.grade = file_.read<std::int32_t>(group + "/grade", {judgements});
    split.offsets = offsets(group + "/offsets", judgements);
    if (static_cast<std::int64_t>(split.offsets.size()) != split.size() + 1) {
      fail_in(group + "/offsets",
              fmt::format("has {} rows for {} queries", split.offsets.size() - 1, split.size()));
    }
    std::vector<std::int64_t> single(split.query.size() + 1);
    for (std::size_t row = 0; row < single.size(); ++row) single[row] = static_cast<std::int64_t>(row);
    check_range(split.query, static_cast<std::int32_t>(store.queries.rows()), group + "/query", single,
                "query row");
    const auto fall = std::ranges::adjacent_find(split.query, std::ranges::greater_equal{});
    if (fall != split.query.end()) {
      fail_in(group + "/query",
              fmt::format("row {}: queries are not in ascending order", fall - split.query.begin() + 1));
    }
    check_range(split.document, static_cast<std::int32_t>(store.documents.rows()), group + "/document",
                split.offsets, "document row");
    if (file_.has(group + "/score")) split.score = scores(group + "/score", split);
    if (split.score.empty() && store.task == Task::kSimilarity)
      fail_in(group, "has no scores, which the task is about");
    return split;
  }

  std::vector<float> scores(const std::string& data_set, const Split& split) const {
    std::vector<float> scores =
        file_.read<float>(data_set, {static_cast<std::int64_t>(split.document.size())});
    const auto found = std::ranges::find_if_not(scores, [](float score) { return std::isfinite(score); });
    if (found != scores.end()) {
      fail_in(data_set, fmt::format("element {} is {}, not a finite number", found - scores.begin(), *found));
    }
    return scores;
  }

  TextForm text_form() const {
    if (!file_.has_attribute(kTextFormAttribute)) return {};  // as in stores from before there were prompts
    const std::string origin = fmt::format("{}: attribute {}", name(), kTextFormAttribute);
    const std::string text = file_.attribute_string(kTextFormAttribute);
    return text_form_from_json(nlohmann::json::parse(text, nullptr, false), origin);
  }

  Task task() const {
    if (!file_.has_attribute("task")) return Task::kRetrieval;  // as in stores that know no other
    const std::string task = file_.attribute_string("task");
    for (const Task known : {Task::kRetrieval, Task::kSimilarity}) {
      if (task == task_name(known)) return known;
    }
    fail("{}: attribute task is \"{}\", this program knows {} and {}", name(), task,
         task_name(Task::kRetrieval), task_name(Task::kSimilarity));
  }

  /// Rows by id; an id that occurs twice is an error.
  std::unordered_map<std::string_view, std::int32_t> rows_by_id(const TokenTable& table,
                                                                const std::string& data_set) const {
    std::unordered_map<std::string_view, std::int32_t> rows;
    rows.reserve(table.ids.size());
    for (std::size_t row = 0; row < table.ids.size(); ++row) {
      const bool is_new = rows.emplace(table.ids[row], static_cast<std::int32_t>(row)).second;
      if (!is_new) fail_in(data_set, fmt::format("row {}: id \"{}\" occurs twice", row, table.ids[row]));
    }
    return rows;
  }

 private:
  std::string name() const { return file_.path().string(); }

  Hdf5Reader file_;
};

std::int32_t longest_row(const TokenTable& table) {
  std::int32_t longest = 0;
  for (std::int64_t row = 0; row < table.rows(); ++row) longest = std::max(longest, table.length(row));
  return longest;
}

}  // namespace

const Split* TokenStore::find_split(const std::string& name) const {
  const auto found = splits.find(name);
  return found == splits.end() ? nullptr : &found->second;
}

const Split& TokenStore::split(const std::string& name) const {
  if (const Split* found = find_split(name)) return *found;
  std::string known;
  for (const auto& entry : splits) known += (known.empty() ? "" : ", ") + entry.first;
  fail("{}: there is no split \"{}\"; the store has: {}", path.string(), name, known);
}

TokenStore read_token_store(const std::filesystem::path& path) {
  const StoreReader reader(path);
  TokenStore store;
  store.path = path;
  store.task = reader.task();
  store.vocabulary_size = reader.positive_attribute("vocabulary_size");
  store.max_length = reader.positive_attribute("max_length");
  store.tokenizer = reader.file().read_string("/tokenizer");
  store.form = reader.text_form();
  store.documents = reader.table("/documents", store.vocabulary_size);
  store.queries = reader.table("/queries", store.vocabulary_size);
  const std::int32_t longest = std::max(longest_row(store.documents), longest_row(store.queries));
  if (longest != store.max_length) {
    fail("{}: attribute max_length is {}, but the longest row has {} tokens", path.string(), store.max_length,
         longest);
  }
  for (const std::string& name : reader.file().list("/splits"))
    store.splits[name] = reader.split(name, store);
  if (store.splits.empty()) reader.fail_in("/splits", "holds no split");
  const auto document_rows = reader.rows_by_id(store.documents, "/documents/ids");
  reader.rows_by_id(store.queries, "/queries/ids");
  store.same_document.reserve(store.queries.ids.size());
  for (const std::string& id : store.queries.ids) {
    const auto found = document_rows.find(id);
    store.same_document.push_back(found == document_rows.end() ? -1 : found->second);
  }
  return store;
}

StoreTexts read_store_texts(const std::filesystem::path& path) {
  const StoreReader reader(path);
  const auto texts = [&reader](const std::string& group) {
    const std::int64_t rows = reader.file().info(group + "/offsets").elements - 1;
    return reader.strings(group + "/text", group + "/text_offsets", rows);
  };
  return {texts("/documents"), texts("/queries")};
}

}  // namespace toller
