// What every subcommand's command line and config file have in common.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "cli/command.h"
#include "cli/suggest.h"
#include "comm/communicator.h"
#include "device/no_gpus.h"
#include "error.h"

namespace toller {
namespace {

namespace po = boost::program_options;

class Options : public testing::Test {
 protected:
  Options() {
    std::string name = (std::filesystem::temp_directory_path() / "toller-options-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    options_.add_options()("data", po::value<std::string>(), "store")(
        "lr", po::value<double>()->default_value(0.1), "rate")("scale", po::value<float>(), "scale")(
        "steps", po::value<std::int64_t>(), "steps")("ranks", po::value<unsigned>(), "ranks")(
        "symmetric", po::bool_switch(), "both ways")(
        "weights", po::value<std::vector<double>>()->multitoken(), "weights")(
        "file", po::value<std::vector<std::string>>(), "files");
  }
  ~Options() override { std::filesystem::remove_all(folder_); }

  std::optional<po::variables_map> parse(std::vector<std::string> words, const std::string& positional = "") {
    CommandContext context{std::move(words), self_, gpus_};
    return parse_options(context, "toller test", "Tests.", options_, positional);
  }

  /// The message of the UsageError; empty if there is none.
  std::string error(std::vector<std::string> words) {
    try {
      parse(std::move(words));
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  }

  std::string write(const std::string& name, const std::string& content) {
    const std::string path = (folder_ / name).string();
    std::ofstream(path) << content;
    return path;
  }

  std::filesystem::path folder_;
  SelfCommunicator self_;
  NoGpus gpus_;
  po::options_description options_{"Test"};
};

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(Options, ReadsFlagsAndDefaults) {
  const auto values = parse({"--data", "x.h5", "--steps=-3", "--symmetric"});
  ASSERT_TRUE(values);
  EXPECT_EQ(required_option(*values, "data"), "x.h5");
  EXPECT_EQ((*values)["steps"].as<std::int64_t>(), -3);
  EXPECT_EQ((*values)["lr"].as<double>(), 0.1);
  EXPECT_TRUE((*values)["symmetric"].as<bool>());
}

TEST_F(Options, HelpReturnsNothingWhateverElseIsThere) {
  testing::internal::CaptureStdout();
  EXPECT_FALSE(parse({"--nonsense", "--help"}));
  const std::string help = testing::internal::GetCapturedStdout();
  for (const char* part : {"toller test", "Tests.", "--lr", "0.1", "--config"}) EXPECT_HAS(help, part);
}

TEST_F(Options, MistakesNameTheOption) {
  EXPECT_HAS(error({"--stps", "4"}), "'--stps' (did you mean --steps?)");
  EXPECT_HAS(error({"--sym"}), "did you mean --symmetric?");
  EXPECT_HAS(error({"--steps", "4x"}), "--steps");
  EXPECT_HAS(error({"--steps", "1e3"}), "--steps");
  EXPECT_HAS(error({"--steps", "99999999999999999999"}), "--steps");
  EXPECT_HAS(error({"--steps"}), "--steps");
  EXPECT_HAS(error({"--ranks", "-1"}), "'--ranks': '-1' is negative");
  EXPECT_HAS(error({"--lr", "nan"}), "'--lr': 'nan' is not a finite number");
  EXPECT_HAS(error({"--scale", "inf"}), "--scale");
  EXPECT_HAS(error({"--weights", "1", "nan"}), "--weights");
  EXPECT_HAS(error({"--data", "a", "--data", "b"}), "--data");
  EXPECT_HAS(error({"stray"}), "'stray'");
  EXPECT_HAS(error({"-v"}), "'-v'");
}

TEST_F(Options, PositionalWordsGoToTheirOption) {
  const auto values = parse({"a", "--data", "x", "b"}, "file");
  EXPECT_EQ((*values)["file"].as<std::vector<std::string>>(), (std::vector<std::string>{"a", "b"}));
}

TEST_F(Options, RequiredOptionMustBeGivenAndNotEmpty) {
  EXPECT_THROW(required_option(*parse({}), "data"), UsageError);
  EXPECT_THROW(required_option(*parse({"--data", ""}), "data"), UsageError);
}

TEST_F(Options, FlagsBeatTheConfigFile) {
  const std::string config =
      write("a.conf", "# comment\ndata = x.h5\nlr = 0.5  # faster\nsymmetric = true\n");
  const auto values = parse({"--config", config, "--lr", "0.25"});
  EXPECT_EQ((*values)["data"].as<std::string>(), "x.h5");
  EXPECT_EQ((*values)["lr"].as<double>(), 0.25);
  EXPECT_TRUE((*values)["symmetric"].as<bool>());
  EXPECT_EQ((*parse({"--config", config}))["lr"].as<double>(), 0.5);
}

TEST_F(Options, JsonConfig) {
  const std::string config =
      write("a.json", R"({"data": "x.h5", "lr": 0.5, "steps": 7, "symmetric": true, "weights": [1, 0.5]})");
  const auto values = parse({"--config", config});
  EXPECT_EQ((*values)["data"].as<std::string>(), "x.h5");
  EXPECT_EQ((*values)["lr"].as<double>(), 0.5);
  EXPECT_EQ((*values)["steps"].as<std::int64_t>(), 7);
  EXPECT_TRUE((*values)["symmetric"].as<bool>());
  EXPECT_EQ((*values)["weights"].as<std::vector<double>>(), (std::vector<double>{1, 0.5}));
}

TEST_F(Options, ConfigMistakesNameFileAndPlace) {
  const auto message = [&](const std::string& name, const std::string& content) {
    return error({"--config", write(name, content)});
  };
  std::string text = message("typo.conf", "data = x\n\nstpes = 4\n");
  EXPECT_HAS(text, "typo.conf: line 3: unknown option 'stpes' (did you mean steps?)");
  text = message("syntax.conf", "data = x\nlr 0.5\n");
  EXPECT_HAS(text, "syntax.conf: line 2: 'lr 0.5'");
  EXPECT_HAS(message("number.conf", "lr = fast\n"), "number.conf");
  EXPECT_HAS(message("nan.conf", "lr = nan\n"), "'lr': 'nan' is not a finite number");
  EXPECT_HAS(message("nested.conf", "config = other.conf\n"), "unknown option 'config'");
  text = message("typo.json", R"({"lrr": 1})");
  EXPECT_HAS(text, "typo.json: unknown option 'lrr' (did you mean lr?)");
  text = message("broken.json", "{\"lr\": 1,\n}");
  EXPECT_HAS(text, "broken.json");
  EXPECT_HAS(text, "line 2");
  EXPECT_HAS(message("null.json", R"({"lr": null})"), "'lr'");
  EXPECT_HAS(message("list.json", "[1]"), "one JSON object");
  EXPECT_HAS(error({"--config", (folder_ / "none.conf").string()}), "none.conf");
  EXPECT_HAS(error({"--config", folder_.string()}), "cannot read");
}

TEST(NearestName, SuggestsSlipsAndAbbreviationsOnly) {
  const std::vector<std::string> names{"train", "temperature", "steps", "seed"};
  EXPECT_EQ(nearest_name("trian", names), "train");
  EXPECT_EQ(nearest_name("temp", names), "temperature");
  EXPECT_EQ(nearest_name("setps", names), "steps");
  EXPECT_EQ(nearest_name("sed", names), "seed");
  EXPECT_EQ(nearest_name("banana", names), "");
  EXPECT_EQ(nearest_name("", names), "");
}

}  // namespace
}  // namespace toller
