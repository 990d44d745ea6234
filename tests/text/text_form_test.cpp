#include "text/text_form.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "error.h"

namespace toller {
namespace {

using Json = nlohmann::json;

TEST(TextForm, IsReadAsWritten) {
  const TextForm form{{"query: ", 32}, {"\"", 512}};
  EXPECT_EQ(text_form_from_json(to_json(form), "here"), form);
  EXPECT_EQ(text_form_from_json(to_json(TextForm{}), "here"), TextForm{});
}

TEST(TextForm, NamesWhatIsWrong) {
  const auto message = [](const std::function<void(Json&)>& change) -> std::string {
    Json json = to_json(TextForm{});
    change(json);
    try {
      text_form_from_json(json, "here");
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message([](Json&) {}), "");
  EXPECT_EQ(message([](Json& json) { json = Json(Json::value_t::discarded); }),
            "here: is not an object of queries and documents");
  EXPECT_EQ(message([](Json& json) { json.erase("queries"); }),
            "here: is not an object of queries and documents");
  EXPECT_EQ(message([](Json& json) { json["third"] = 1; }),
            "here: is not an object of queries and documents");
  EXPECT_EQ(message([](Json& json) { json["queries"]["suffix"] = ""; }),
            "here: queries: is not an object of prompt and max_length");
  EXPECT_EQ(message([](Json& json) { json["documents"]["max_length"] = -1; }),
            "here: documents: max_length is -1");
  EXPECT_EQ(message([](Json& json) { json["documents"]["max_length"] = 1.5; }),
            "here: documents: 1.5 is not an integer that fits");
  EXPECT_NE(message([](Json& json) { json["documents"]["prompt"] = 7; }), "");
}

TEST(TextForm, LengthsAreNoDifferenceOfPrompts) {
  EXPECT_EQ(prompt_difference({{"a", 1}, {"b", 2}}, {{"a", 3}, {"b", 4}}), "");
  EXPECT_EQ(prompt_difference({{"a", 1}, {"", 1}}, {{"b", 1}, {"", 1}}), "\"a\" and \"b\" before queries");
  EXPECT_EQ(prompt_difference({{"", 1}, {"a", 1}}, {{"", 1}, {"", 1}}), "\"a\" and \"\" before documents");
}

}  // namespace
}  // namespace toller
