#include "data/wordnet.h"

#include <gmock/gmock.h>

#include <set>

#include "temporary_folder.h"

namespace toller {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A hand-made file in the form of WordNet's. Below 100 entity are 200 animal and 300 pet; 400 dog is both;
/// 500 cat, 600 parrot; 700 Lassie is an instance of dog; 800 puppy is a dog and, directly too, an animal;
/// 900 stands alone.
const char* const kNouns =
    "  1 This software and database is being provided to you, the LICENSEE, by  \n"
    "  2 Princeton University under the following license.  \n"
    "00000100 03 n 01 entity 0 002 ~ 00000200 n 0000 ~ 00000300 n 0000 | that which exists  \n"
    "00000200 05 n 02 animal 0 living_animal 1 004 @ 00000100 n 0000 ~ 00000400 n 0000 ~ 00000500 n 0000"
    " ~ 00000800 n 0000 | moves; \"it | moves\"  \n"
    "00000300 05 n 01 pet 0 003 @ 00000100 n 0000 ~ 00000400 n 0000 ~ 00000600 n 0000 | kept for pleasure  \n"
    "00000400 05 n 01 dog a 005 @ 00000200 n 0000 @ 00000300 n 0000 ~i 00000700 n 0000 ~ 00000800 n 0000"
    " + 01234567 v 0101 | barks  \n"
    "00000500 05 n 01 cat 0 002 @ 00000200 n 0000 #m 00000900 n 0000 | purrs  \n"
    "00000600 05 n 01 parrot 0 001 @ 00000300 n 0000 | talks  \n"
    "00000700 18 n 01 Lassie 0 001 @i 00000400 n 0000 | a dog of the films  \n"
    "00000800 05 n 01 puppy 0 002 @ 00000400 n 0000 @ 00000200 n 0000 | a young dog  \n"
    "00000900 14 n 01 clowder 0 001 %m 00000500 n 0000 | a group of cats  \n";

std::vector<Synset> parse(const std::string& content) {
  const TemporaryFolder folder;
  return read_noun_synsets(folder.write("data.noun", content));
}

/// The judgements of all splits as "query document grade", ids without their leading zeros.
std::set<std::string> judgements_of(const Collection& collection) {
  std::set<std::string> found;
  const auto number = [](const std::string& id) { return std::stoi(id.substr(1)); };
  for (const auto& [name, judgements] : collection.splits) {
    for (const Judgement& judgement : judgements) {
      found.insert(fmt::format("{} {} {}", number(collection.queries[judgement.query].id),
                               number(collection.documents[judgement.document].id), judgement.grade));
    }
  }
  return found;
}

TEST(ReadNounSynsets, ReadsWordsGlossAndRelations) {
  const std::vector<Synset> synsets = parse(kNouns);
  ASSERT_EQ(synsets.size(), 9u);
  EXPECT_EQ(synsets[1].offset, "00000200");
  EXPECT_THAT(synsets[1].words, ElementsAre("animal", "living animal"));
  EXPECT_EQ(synsets[1].gloss, "moves; \"it | moves\"");
  EXPECT_THAT(synsets[1].hypernyms, ElementsAre(0));
  EXPECT_THAT(synsets[1].hyponyms, ElementsAre(3, 4, 7));
  EXPECT_THAT(synsets[3].hyponyms, ElementsAre(6, 7));
  EXPECT_THAT(synsets[8].hypernyms, ElementsAre());
}

TEST(WordnetCollection, JudgesRelativesByHand) {
  const Collection collection = make_wordnet_collection(parse(kNouns), {});
  EXPECT_EQ(collection.documents.size(), 9u);
  EXPECT_EQ(collection.queries.size(), 8u);  // 900 has no relatives
  EXPECT_EQ(collection.documents[1].id, "n00000200");
  EXPECT_EQ(collection.documents[1].text, "animal, living animal: moves; \"it | moves\"");
  EXPECT_EQ(collection.queries[1].text, collection.documents[1].text);
  const std::set<std::string> expected{"100 200 2", "100 300 2",  // entity
                                       "200 100 2", "200 400 2", "200 500 2", "200 800 2",
                                       "200 300 1",                                         // animal
                                       "300 100 2", "300 400 2", "300 600 2", "300 200 1",  // pet
                                       "400 200 2", "400 300 2", "400 700 2", "400 800 2",
                                       "400 500 1", "400 600 1",               // dog: puppy keeps grade 2
                                       "500 200 2", "500 400 1", "500 800 1",  // cat
                                       "600 300 2", "600 400 1",               // parrot
                                       "700 400 2", "700 800 1",               // Lassie
                                       "800 400 2", "800 200 2", "800 700 1", "800 500 1"};  // puppy
  EXPECT_EQ(judgements_of(collection), expected);
}

TEST(WordnetCollection, SplitsDependOnIdAndSeedOnly) {
  const auto split_queries = [](const Collection& collection, const char* name) {
    std::set<std::string> ids;
    const auto split = collection.splits.find(name);
    if (split == collection.splits.end()) return ids;
    for (const Judgement& judgement : split->second) ids.insert(collection.queries[judgement.query].id);
    return ids;
  };
  const std::vector<Synset> synsets = parse(kNouns);
  std::set<std::set<std::string>> seen;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Collection collection = make_wordnet_collection(synsets, {seed, 0.3, 0.3});
    const auto test = split_queries(collection, "test");
    seen.insert(test);
    std::size_t queries = test.size();
    for (const char* name : {"train", "dev"}) queries += split_queries(collection, name).size();
    EXPECT_EQ(queries, 8u);  // every query is in one split
    // Without the dev split, and without the last synset, the test split stays.
    EXPECT_EQ(split_queries(make_wordnet_collection(synsets, {seed, 0, 0.3}), "test"), test);
    EXPECT_EQ(split_queries(make_wordnet_collection({synsets.begin(), synsets.end() - 1}, {seed, 0.3, 0.3}),
                            "test"),
              test);
  }
  EXPECT_GT(seen.size(), 10u);
  EXPECT_EQ(make_wordnet_collection(synsets, {1, 0, 0}).splits.size(), 1u);
}

TEST(WordnetCollection, InductiveTrainingKnowsNothingOfHeldOutSynsets) {
  const auto synsets = parse(kNouns);
  std::size_t left_out = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Collection plain = make_wordnet_collection(synsets, {seed, 0.3, 0.3});
    const Collection inductive = make_wordnet_collection(synsets, {seed, 0.3, 0.3, true});
    const auto ids = [](const Collection& collection, const std::string& split) {
      std::set<std::pair<std::string, std::string>> pairs;
      const auto found = collection.splits.find(split);
      if (found == collection.splits.end()) return pairs;
      for (const Judgement& judgement : found->second) {
        pairs.emplace(collection.queries[judgement.query].id, collection.documents[judgement.document].id);
      }
      return pairs;
    };
    for (const char* split : {"dev", "test"}) EXPECT_EQ(ids(plain, split), ids(inductive, split));
    std::set<std::string> held_out;
    for (const char* split : {"dev", "test"}) {
      for (const auto& [query, document] : ids(plain, split)) held_out.insert(query);
    }
    std::set<std::pair<std::string, std::string>> expected;
    for (const auto& pair : ids(plain, "train")) {
      if (!held_out.contains(pair.second)) expected.insert(pair);
    }
    EXPECT_EQ(ids(inductive, "train"), expected);
    left_out += ids(plain, "train").size() - expected.size();
  }
  EXPECT_GT(left_out, 0u);
}

struct BadSynset {
  const char* line;
  const char* message;
};

class ReadNounSynsetsError : public ::testing::TestWithParam<BadSynset> {};

TEST_P(ReadNounSynsetsError, NamesFileAndLine) {
  const std::string content = std::string(kNouns) + GetParam().line + "\n";
  EXPECT_THAT(message_of([&] { parse(content); }),
              AllOf(HasSubstr("data.noun:12: "), HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    Lines, ReadNounSynsetsError,
    ::testing::Values(
        BadSynset{"00001000 03 n 01 thing 0 000 a gloss", "no gloss"},
        BadSynset{"00001000 03 n 01 thing 0 000 |   ", "the gloss is empty"},
        BadSynset{"0001000 03 n 01 thing 0 000 | x", "the synset offset \"0001000\" is not 8 digits"},
        BadSynset{"00001000 03 v 01 thing 0 000 | x", "synset type \"v\""},
        BadSynset{"00001000 03 n zz thing 0 000 | x", "the word count \"zz\" is not 2 hexadecimal digits"},
        BadSynset{"00001000 03 n 00 000 | x", "the synset has no words"},
        BadSynset{"00001000 03 n 02 thing 0 000 | x", "the line ends before a lexical id"},
        BadSynset{"00001000 03 n 01 thing 0 001 | x", "the line ends before a pointer symbol"},
        BadSynset{"00001000 03 n 01 thing 0 000 @ 00000100 n 0000 | x", "unexpected field \"@\""},
        BadSynset{"00001000 03 n 01 thing 0 001 ? 00000100 n 0000 | x", "\"?\" is no pointer symbol"},
        BadSynset{"00001000 03 n 01 thing 0 001 @ 100 n 0000 | x", "offset \"100\" is not 8 digits"},
        BadSynset{"00001000 03 n 01 thing 0 001 @ 00000100 v 0000 | x", "leads to part of speech \"v\""},
        BadSynset{"00001000 03 n 01 thing 0 001 ! 00000100 x 0000 | x", "\"x\" is no part of speech"},
        BadSynset{"00001000 03 n 01 thing 0 001 @ 00000100 n 00 | x", "source/target \"00\" is not 4"},
        BadSynset{"00001000 03 n  01 thing 0 000 | x", "the word count is empty"},
        BadSynset{"00000100 03 n 01 thing 0 000 | x", "synset 00000100 occurs twice"},
        BadSynset{"00001000 03 n 01 thing 0 001 @ 00001111 n 0000 | x",
                  "leads to 00001111, which is not a synset"}));

TEST(ReadNounSynsets, RefusesAFileWithoutSynsets) {
  EXPECT_THAT(message_of([] { parse("  1 a licence\n"); }), HasSubstr("holds no synsets"));
}

/// Counts of the whole of WordNet 3.0, found by an independent script.
TEST(WordnetCollection, CountsOfTheInstalledWordnet) {
  const char* const path = "/usr/share/wordnet/data.noun";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "wordnet-base is not installed";
  const Collection collection = make_wordnet_collection(read_noun_synsets(path), {});
  EXPECT_EQ(collection.documents.size(), 82115u);
  EXPECT_EQ(collection.queries.size(), 82115u);
  std::array<std::int64_t, 3> grades{};
  for (const auto& [name, judgements] : collection.splits) {
    for (const Judgement& judgement : judgements) ++grades.at(judgement.grade);
  }
  EXPECT_THAT(grades, ElementsAre(0, 3680424, 168854));
}

}  // namespace
}  // namespace toller
