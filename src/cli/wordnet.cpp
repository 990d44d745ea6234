#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "data/collection.h"
#include "data/text_file.h"
#include "data/wordnet.h"
#include "error.h"

namespace toller {
namespace {

namespace po = boost::program_options;

po::options_description declare_options(const WordnetOptions& defaults) {
  po::options_description options("Options");
  auto add = options.add_options();
  add("out", po::value<std::string>()->value_name("DIR"),
      "folder to write the collection to (made if missing)");
  add("source", po::value<std::string>()->default_value("/usr/share/wordnet")->value_name("DIR"),
      "folder with WordNet's data.noun (Debian package wordnet-base)");
  add("seed", po::value<std::uint64_t>()->default_value(defaults.seed)->value_name("N"),
      "chooses which queries are in which split");
  add("dev", po::value<double>()->default_value(defaults.dev_fraction, "0.0061")->value_name("F"),
      "share of the queries in split dev (about 500)");
  add("test", po::value<double>()->default_value(defaults.test_fraction, "0.0122")->value_name("F"),
      "share of the queries in split test (about 1,000)");
  add("inductive", po::bool_switch(),
      "leave out of the training judgements every synset that is a dev or test query: without it, most test "
      "judgements have their mirror image in training");
  add("json", po::value<std::string>()->value_name("FILE"), "write the counts to FILE");
  return options;
}

WordnetOptions read_fractions(const po::variables_map& values) {
  const WordnetOptions options{values["seed"].as<std::uint64_t>(), values["dev"].as<double>(),
                               values["test"].as<double>(), values["inductive"].as<bool>()};
  const auto is_share = [](double fraction) { return fraction >= 0 && fraction < 1; };
  if (!is_share(options.dev_fraction) || !is_share(options.test_fraction) ||
      !is_share(options.dev_fraction + options.test_fraction)) {
    fail_usage("--dev {} and --test {} must be shares of the queries, together below 1", options.dev_fraction,
               options.test_fraction);
  }
  return options;
}

struct SplitCounts {
  std::int64_t queries = 0;
  std::array<std::int64_t, 3> grades{};  ///< judgements of grade 0, 1 and 2
};

/// Judgements of a query lie side by side.
SplitCounts count(const std::vector<Judgement>& judgements) {
  SplitCounts counts;
  std::int32_t query = -1;
  for (const Judgement& judgement : judgements) {
    counts.queries += judgement.query != query ? 1 : 0;
    query = judgement.query;
    ++counts.grades.at(judgement.grade);
  }
  return counts;
}

nlohmann::ordered_json report(const Collection& collection) {
  fmt::print("documents {}, queries {}\n", collection.documents.size(), collection.queries.size());
  nlohmann::ordered_json json{{"documents", collection.documents.size()},
                              {"queries", collection.queries.size()}};
  for (const auto& [name, judgements] : collection.splits) {
    const SplitCounts counts = count(judgements);
    fmt::print("{:<5} queries {:>6}, judgements {:>8}: {} of grade 2, {} of grade 1\n", name, counts.queries,
               judgements.size(), counts.grades[2], counts.grades[1]);
    json["splits"][name] = {{"queries", counts.queries},
                            {"judgements", judgements.size()},
                            {"grade_2", counts.grades[2]},
                            {"grade_1", counts.grades[1]}};
  }
  return json;
}

}  // namespace

int run_wordnet(CommandContext& context) {
  const auto values =
      parse_options(context, "toller wordnet --out DIR [options]",
                    "Makes the sample collection from WordNet's noun synsets, in BEIR layout: find a "
                    "synset's hypernyms and\n"
                    "hyponyms (grade 2) and its co-hyponyms (grade 1) from its words and gloss.",
                    declare_options({}));
  if (!values) return 0;
  const std::filesystem::path out = required_option(*values, "out");
  const std::filesystem::path source = (*values)["source"].as<std::string>();
  const WordnetOptions options = read_fractions(*values);
  if (!is_root(context)) return 0;

  const std::filesystem::path nouns = source / "data.noun";
  if (!std::filesystem::exists(nouns)) {
    fail(
        "{}: not found; install WordNet 3.0 (Debian: apt install wordnet-base) or name its folder with "
        "--source",
        nouns.string());
  }
  const Collection collection = make_wordnet_collection(read_noun_synsets(nouns), options);
  write_beir(collection, out);
  const nlohmann::ordered_json counts = report(collection);
  fmt::print("written to {}\n", out.string());
  if (values->count("json") != 0) {
    AtomicFileWriter file((*values)["json"].as<std::string>());
    file.write(counts.dump(2) + '\n');
    file.commit();
  }
  return 0;
}

}  // namespace toller
