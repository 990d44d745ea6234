#include "io/strict_json.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "temporary_folder.h"

namespace toller {
namespace {

std::string parse_message(const std::string& text, int depth = 3) {
  return message_of([&] { parse_strict_json(text, "x.json", depth); });
}

TEST(StrictJson, RefusesWhatIsOverlookedElsewhere) {
  EXPECT_EQ(parse_strict_json(R"({"a": {"b": [1]}, "c": {"b": 2}})", "x.json", 3)["c"]["b"], 2);
  EXPECT_EQ(parse_message(R"({"a": {"b": 1, "b": 2}})"), "x.json: the key \"b\" stands twice in one object");
  EXPECT_NE(parse_message("[[[[1]]]]").find("x.json: has objects or lists more than 3 deep"),
            std::string::npos);
  EXPECT_NE(parse_message(std::string(1 << 20, '[')).find("more than 3 deep"), std::string::npos);
  for (const char* text : {"", "{", "{}{}", "{\"a\":NaN}", "[1e999]", "{\"a\":\"\xff\"}", "{\"a\":1,}"}) {
    EXPECT_TRUE(parse_message(text).starts_with("x.json: is not JSON: ")) << text;
  }
}

TEST(StrictJson, Fields) {
  const JsonObject object(
      nlohmann::json::parse(R"({"n": 7, "x": 0.5, "yes": true, "word": "w", "none": null, "minus": -1,
                                "large": 2147483648, "point": 7.0})"),
      "x.json");
  EXPECT_EQ(object.count("n"), 7);
  EXPECT_EQ(object.count("none", 3), 3);
  EXPECT_EQ(object.number("x", 1), 0.5);
  EXPECT_EQ(object.number("n", 1), 7);
  EXPECT_TRUE(object.flag("yes", false));
  EXPECT_EQ(object.text("word", ""), "w");
  object.require("n", 7);
  object.require("absent", 7);
  object.require("none", 7);
  object.require_absent("none");

  EXPECT_EQ(message_of([&] { object.count("none"); }), "x.json: lacks the field none");
  const std::string expected = ", expected a whole number from 0 to 2^31 - 1";
  EXPECT_EQ(message_of([&] { object.count("minus"); }), "x.json: field minus is -1" + expected);
  EXPECT_EQ(message_of([&] { object.count("large"); }), "x.json: field large is 2147483648" + expected);
  EXPECT_EQ(message_of([&] { object.count("point"); }), "x.json: field point is 7.0" + expected);
  EXPECT_EQ(message_of([&] { object.count("yes"); }), "x.json: field yes is true" + expected);
  EXPECT_EQ(message_of([&] { object.number("word", 1); }), "x.json: field word is \"w\", expected a number");
  EXPECT_EQ(message_of([&] { object.flag("n", true); }), "x.json: field n is 7, expected true or false");
  EXPECT_EQ(message_of([&] { object.text("n", ""); }), "x.json: field n is 7, expected a text");
  EXPECT_EQ(message_of([&] { object.require("word", "v"); }),
            "x.json: field word is \"w\", which is not supported; \"v\" is");
  EXPECT_EQ(message_of([&] { object.require_absent("word"); }),
            "x.json: field word (\"w\") is not supported");
}

TEST(StrictJson, Files) {
  const TemporaryFolder folder;
  folder.write("list.json", "[]");
  EXPECT_EQ(JsonObject(folder.write("sound.json", "{\"a\": 1}")).count("a"), 1);
  EXPECT_EQ(message_of([&] { JsonObject object(folder / "list.json"); }),
            (folder / "list.json").string() + ": is not a JSON object");
  EXPECT_EQ(message_of([&] { JsonObject object(folder / "none.json"); }),
            (folder / "none.json").string() + ": there is no such file");
  EXPECT_EQ(message_of([&] { read_small_file(folder.path(), 10); }),
            folder.path().string() + ": is not a regular file");
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(message_of([&] { read_small_file(folder / "pipe", 10); }),
            (folder / "pipe").string() + ": is not a regular file");
  EXPECT_EQ(read_small_file(folder / "sound.json", 8), "{\"a\": 1}");
  EXPECT_EQ(message_of([&] { read_small_file(folder / "sound.json", 7); }),
            (folder / "sound.json").string() + ": has 8 bytes, more than the 7 allowed here");
}

}  // namespace
}  // namespace toller
