#include "data/example_json.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "data/json_line.h"

namespace toller {
namespace {

using nlohmann::json;

constexpr std::array kQueryFields = {"query", "anchor"};
constexpr std::array kPositiveFields = {"positive_passages", "pos", "positive"};
constexpr std::array kNegativeFields = {"negative_passages", "neg", "negative"};

/// The field that is there under one of these names, and not null; null pointers if none is.
template <std::size_t N>
std::pair<const char*, json*> find_field(json& object, const std::array<const char*, N>& names) {
  for (const char* name : names) {
    const auto field = object.find(name);
    if (field != object.end() && !field->is_null()) return {name, &*field};
  }
  return {nullptr, nullptr};
}

std::string take_text(json& value, const char* field, const LineReader& reader) {
  if (!value.is_string()) reader.fail_here("field \"{}\" is not a string but {}", field, value.type_name());
  return std::move(value.get_ref<std::string&>());
}

/// An id, which some files have as a whole number; "" if there is none.
std::string take_id(json& object, const char* field, const LineReader& reader) {
  const auto found = object.find(field);
  if (found == object.end() || found->is_null()) return "";
  if (found->is_number_integer()) return found->dump();
  std::string id = take_text(*found, field, reader);
  check_id(id, field, reader);
  return id;
}

float finite_score(const json& value, const char* field, const LineReader& reader) {
  if (!value.is_number())
    reader.fail_here("field \"{}\": a score is not a number but {}", field, value.type_name());
  const auto score = static_cast<float>(value.get<double>());
  if (!std::isfinite(score))
    reader.fail_here("field \"{}\": {} is too large for a score", field, value.dump());
  return score;
}

/// A text, or an object with a text and perhaps a title, an id and a score.
ExampleText take_document(json& value, const char* field, const LineReader& reader) {
  if (value.is_string()) return {"", std::move(value.get_ref<std::string&>())};
  if (!value.is_object()) {
    reader.fail_here("field \"{}\" holds {} where a text or an object with \"text\" belongs", field,
                     value.type_name());
  }
  ExampleText document{
      take_id(value, "docid", reader),
      titled_text(string_field(value, "title", true, reader), string_field(value, "text", false, reader))};
  const auto score = value.find("score");
  if (score != value.end() && !score->is_null()) document.score = finite_score(*score, "score", reader);
  return document;
}

/// Adds the documents of a field: one, or a list of them.
void take_documents(json& value, const char* field, const LineReader& reader,
                    std::vector<ExampleText>& documents) {
  if (!value.is_array()) return documents.push_back(take_document(value, field, reader));
  for (json& element : value) documents.push_back(take_document(element, field, reader));
}

/// A teacher's scores of documents, from a list of their own; none if it is absent or empty.
void take_scores(const json& object, const char* field, const LineReader& reader,
                 std::vector<ExampleText>& documents) {
  const auto scores = object.find(field);
  if (scores == object.end() || scores->is_null()) return;
  if (!scores->is_array()) reader.fail_here("field \"{}\" is not a list but {}", field, scores->type_name());
  if (scores->empty()) return;
  if (scores->size() != documents.size()) {
    reader.fail_here("field \"{}\" has {} scores for {} documents", field, scores->size(), documents.size());
  }
  for (std::size_t i = 0; i < documents.size(); ++i) {
    documents[i].score = finite_score((*scores)[i], field, reader);
  }
}

Example take_list(json& list, const LineReader& reader) {
  if (list.size() != 2 && list.size() != 3) {
    reader.fail_here("a list of {} instead of query, positive and perhaps negative", list.size());
  }
  for (const json& value : list) {
    if (!value.is_string()) reader.fail_here("the list holds {} where a text belongs", value.type_name());
  }
  Example example{{"", take_text(list[0], "query", reader)}, {}, {}, false};
  take_documents(list[1], "positive", reader, example.positives);
  if (list.size() == 3) take_documents(list[2], "negative", reader, example.negatives);
  return example;
}

}  // namespace

Example parse_json_example(std::string_view line, const LineReader& reader) {
  json value = parse_json_line(line, reader);
  if (value.is_array()) return take_list(value, reader);
  if (!value.is_object()) reader.fail_here("expected a JSON object or list, found {}", value.type_name());
  const auto [query_name, query] = find_field(value, kQueryFields);
  if (query == nullptr) reader.fail_here("field \"query\" (or \"anchor\") is missing");
  const auto [positive_name, positives] = find_field(value, kPositiveFields);
  if (positives == nullptr) {
    reader.fail_here("field \"positive_passages\" (or \"pos\", or \"positive\") is missing");
  }
  Example example{{take_id(value, "query_id", reader), take_text(*query, query_name, reader)}, {}, {}, false};
  take_documents(*positives, positive_name, reader, example.positives);
  if (const auto [name, negatives] = find_field(value, kNegativeFields); negatives != nullptr) {
    take_documents(*negatives, name, reader, example.negatives);
  }
  const auto prompt = value.find("prompt");
  example.has_prompt =
      prompt != value.end() && prompt->is_string() && !prompt->get_ref<std::string&>().empty();
  take_scores(value, "pos_scores", reader, example.positives);
  take_scores(value, "neg_scores", reader, example.negatives);
  for (auto& [name, field] : value.items()) {
    if (is_numbered_negative(name) && !field.is_null()) {
      take_documents(field, name.c_str(), reader, example.negatives);
    }
  }
  return example;
}

}  // namespace toller
