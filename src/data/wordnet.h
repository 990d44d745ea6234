// The sample collection: noun synsets of WordNet 3.0 (Debian package wordnet-base).
//
// Documents are all noun synsets, their id is "n" and the synset's offset ("n00001740"), their text the words
// and the gloss: "physical entity: an entity that has physical existence". A synset is also a query, with the
// same text and id. Relevant to it are
//   grade 2  its hypernyms and hyponyms, instances included (pointers @, @i, ~, ~i),
//   grade 1  its co-hyponyms: the other hyponyms of its hypernyms, unless they have grade 2.
// The query's own document is not judged. No group of co-hyponyms is cut short, however large, so that what
// is not judged is not relevant by this definition.
//
// The relations are symmetric: where synset a is judged for query b, b is judged for a. So most judgements of the test
// queries have their mirror image among those of the training queries, as when links of a known graph are to be
// completed. `inductive` leaves out of the training judgements every synset that is a dev or test query: nothing is
// then known of these queries' relations.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/collection.h"

namespace toller {

struct Synset {
  std::string offset;  ///< eight digits, as in the file
  std::vector<std::string> words;
  std::string gloss;
  std::vector<std::int32_t> hypernyms;  ///< rows in the list of all synsets
  std::vector<std::int32_t> hyponyms;
};

/// Parses a data.noun file (format: wndb(5)). Errors name file and line: anything that departs from the
/// format, a duplicate offset, a hypernym or hyponym that is not in the file.
std::vector<Synset> read_noun_synsets(const std::filesystem::path& path);

struct WordnetOptions {
  std::uint64_t seed = 1;
  // Of 82,115 queries: about 500 and 1,000.
  double dev_fraction = 0.0061;
  double test_fraction = 0.0122;
  bool inductive = false;
};

/// The collection described above, with splits train, dev and test (those that have queries). Which split a
/// query is in depends on its id and the seed only.
Collection make_wordnet_collection(const std::vector<Synset>& synsets, const WordnetOptions& options);

}  // namespace toller
