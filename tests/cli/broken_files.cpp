#include "cli/broken_files.h"

#include <array>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "cli/hdf5_edit.h"
#include "compressed_bytes.h"
#include "error.h"
#include "io/hdf5_file.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

struct CollectionText {
  std::string corpus, queries, train, test;
};

/// 40 documents and 16 queries; each query is relevant to the document of its number and judged against the
/// next.
CollectionText good_collection() {
  constexpr std::array words{"amber", "birch", "cedar", "delta",  "ember", "fjord", "grove", "heron",
                             "inlet", "jetty", "knoll", "lagoon", "marsh", "north", "ocean", "pine"};
  CollectionText text{"", "", "query-id\tcorpus-id\tscore\n", "query-id\tcorpus-id\tscore\n"};
  for (std::size_t i = 0; i < 40; ++i) {
    text.corpus +=
        fmt::format("{{\"_id\": \"d{}\", \"title\": \"{}\", \"text\": \"the {} of {} by a {}\"}}\n", i,
                    words[i % 16], words[(i * 3 + 1) % 16], words[(i * 5 + 2) % 16], words[(i / 2) % 16]);
  }
  for (std::size_t i = 0; i < 16; ++i) {
    text.queries +=
        fmt::format("{{\"_id\": \"q{}\", \"text\": \"{} and {}\"}}\n", i, words[i], words[(i * 3 + 1) % 16]);
    (i < 12 ? text.train : text.test) += fmt::format("q{0}\td{0}\t2\nq{0}\td{1}\t1\n", i, i + 1);
  }
  return text;
}

void write_collection(const ScratchFolder& folder, const std::string& name, const CollectionText& text) {
  folder.write(name + "/corpus.jsonl", text.corpus);
  folder.write(name + "/queries.jsonl", text.queries);
  folder.write(name + "/qrels/train.tsv", text.train);
  folder.write(name + "/qrels/test.tsv", text.test);
}

void make_collections(const ScratchFolder& folder) {
  const CollectionText good = good_collection();
  write_collection(folder, "good", good);
  const auto variant = [&](const std::string& name, auto change) {
    CollectionText text = good;
    change(text);
    write_collection(folder, name, text);
  };
  variant("broken-json", [](CollectionText& t) { t.corpus.insert(t.corpus.find("d2") + 1, 1, '"'); });
  variant("no-text-field", [](CollectionText& t) { t.queries += "{\"_id\": \"q99\"}\n"; });
  variant("number-for-text", [](CollectionText& t) { t.corpus += "{\"_id\": \"d99\", \"text\": 7}\n"; });
  variant("duplicate-id", [](CollectionText& t) { t.corpus += "{\"_id\": \"d3\", \"text\": \"again\"}\n"; });
  variant("empty-query", [](CollectionText& t) { t.queries += "{\"_id\": \"q99\", \"text\": \" \"}\n"; });
  variant("bad-utf8", [](CollectionText& t) { t.corpus += "{\"_id\": \"d99\", \"text\": \"caf\xe9\"}\n"; });
  variant("unknown-document", [](CollectionText& t) { t.test += "q14\td777\t1\n"; });
  variant("unknown-query", [](CollectionText& t) { t.train += "q777\td1\t1\n"; });
  variant("grade-word", [](CollectionText& t) { t.test += "q14\td1\tgood\n"; });
  variant("two-columns", [](CollectionText& t) { t.test += "q14\td1\n"; });
  variant("empty-split", [](CollectionText& t) { t.test = "query-id\tcorpus-id\tscore\n"; });
  variant("no-corpus", [](CollectionText&) {});
  fs::remove(folder.path() / "no-corpus/corpus.jsonl");
  variant("no-qrels", [](CollectionText&) {});
  fs::remove_all(folder.path() / "no-qrels/qrels");
}

void must_run(const std::string& command, const ScratchFolder& folder) {
  const CommandResult result = run_command(command, folder.path(), std::chrono::seconds(60));
  if (result.status != 0) fail("{}: status {}: {}", command, result.status, result.output);
}

void truncate_to(const fs::path& from, const fs::path& to, std::uintmax_t bytes) {
  fs::copy_file(from, to);
  fs::resize_file(to, bytes);
}

void make_stores(const fs::path& at) {
  const fs::path good = at / "good.h5";
  truncate_to(good, at / "truncated.h5", fs::file_size(good) / 2);
  fs::copy_file(good, at / "bit-flip.h5");
  flip_bit(at / "bit-flip.h5", "/documents/tokens");
  copy_hdf5(
      good, at / "token-out-of-range.h5",
      {.int32 = {{"/documents/tokens", [](std::vector<std::int32_t>& tokens) { tokens[4] = 1'000'000; }}}});
  copy_hdf5(
      good, at / "offset-out-of-range.h5",
      {.int64 = {{"/queries/offsets", [](std::vector<std::int64_t>& offsets) { offsets[2] = 1LL << 60; }}}});
  copy_hdf5(good, at / "document-out-of-range.h5",
            {.int32 = {{"/splits/train/document", [](std::vector<std::int32_t>& rows) { rows[0] = 40; }}}});
  copy_hdf5(good, at / "newer.h5", {.attributes = {{"format_version", 99}}});
  copy_hdf5(good, at / "no-offsets.h5", {.left_out = {"/documents/offsets"}});
  copy_hdf5(good, at / "only-train.h5",
            {.left_out = {"/splits/test/query", "/splits/test/offsets", "/splits/test/document",
                          "/splits/test/grade"}});
}

void make_scored_pairs(const ScratchFolder& folder) {
  std::string pairs = "score\tsentence1\tsentence2\n";
  for (int i = 0; i < 12; ++i)
    pairs += fmt::format("{}\tthe amber of pine {}\ta delta by the ocean\n", i % 5, i);
  folder.write("pairs/pairs/train.tsv", pairs);
  folder.write("pairs-score-word/pairs/train.tsv", pairs + "high\tone\ttwo\n");
  folder.write("pairs-two-columns/pairs/train.tsv", pairs + "3\tone\n");
  must_run("toller prepare --collection pairs --tokenizer good.tokenizer.json --out pairs.h5", folder);
  must_run("toller prepare --collection good --train-tokenizer 41 --out other-tokenizer.h5", folder);
}

/// Single files of training examples; of each broken one, line 3.
void make_examples(const ScratchFolder& folder) {
  const std::string good =
      "{\"query\": \"amber\", \"pos\": [\"birch\"], \"neg\": [\"cedar\", \"delta\"], \"pos_scores\": [1], "
      "\"neg_scores\": [0.5, 0.25]}\n";
  const auto broken = [&](const char* name, const std::string& line) {
    folder.write(fmt::format("examples-{}.jsonl", name), good + good + line + '\n');
  };
  broken("broken-json", "{\"query\": \"amber\", \"pos\": [\"birch\"");
  broken("no-query", "{\"pos\": [\"birch\"]}");
  broken("empty-text", "{\"query\": \"amber\", \"pos\": [\" \"]}");
  broken("no-positives", "{\"query\": \"amber\", \"pos\": []}");
  broken("wrong-type", "{\"query\": \"amber\", \"pos\": [{\"text\": 7}]}");
  broken("more-scores", "{\"query\": \"amber\", \"pos\": [\"birch\"], \"pos_scores\": [1, 2]}");
  broken("nan-score", "{\"query\": \"amber\", \"pos\": [\"birch\"], \"pos_scores\": [NaN]}");
  folder.write("examples-not-gzip.jsonl.gz", good);
  std::string lines;
  for (int i = 0; i < 500; ++i) lines += good;
  const std::string compressed = gzip_bytes(lines);
  folder.write("examples-cut-short.jsonl.gz", compressed.substr(0, compressed.size() / 2));
  folder.write("examples-both/train.jsonl", good);
  folder.write("examples-both/train.jsonl.gz", gzip_bytes(good));
  folder.write("examples-no-header.tsv", "amber\tbirch\n");
}

void make_checkpoints(const fs::path& at, const fs::path& good) {
  truncate_to(good, at / "truncated-model.h5", fs::file_size(good) * 2 / 3);
  fs::copy_file(good, at / "bit-flip-model.h5");
  const std::string tensor = "/parameters/embeddings.word_embeddings.weight";
  flip_bit(at / "bit-flip-model.h5", tensor);
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  copy_hdf5(good, at / "nan-model.h5",
            {.float32 = {{tensor, [](std::vector<float>& values) { values[7] = nan; }}}});
  copy_hdf5(good, at / "newer-model.h5", {.attributes = {{"format_version", 99}}});
  copy_hdf5(good, at / "no-tensor-model.h5", {.left_out = {tensor}});
  const auto with_field = [](const char* field, const nlohmann::json& value) {
    return [=](const std::string& config) {
      auto json = nlohmann::json::parse(config);
      json.at("encoder").at(field) = value;
      return json.dump();
    };
  };
  copy_hdf5(good, at / "shape-model.h5", {.config = with_field("vocabulary_size", 41)});
  copy_hdf5(good, at / "cls-model.h5", {.config = with_field("pooling", "cls")});
  copy_hdf5(good, at / "heads-model.h5", {.config = with_field("heads", 7)});
  copy_hdf5(good, at / "config-model.h5",
            {.config = [](const std::string& text) { return text.substr(0, 30); }});
}

}  // namespace

void make_broken_files(const ScratchFolder& folder) {
  make_collections(folder);
  const fs::path& at = folder.path();
  must_run("toller prepare --collection good --train-tokenizer 40 --out good.h5", folder);
  must_run("toller train --data good.h5 --out run --preset tiny --steps 1 --global-batch 4", folder);
  make_stores(at);
  make_scored_pairs(folder);
  make_examples(folder);
  make_checkpoints(at, fs::canonical(at / "run/last"));
  folder.write("text.h5", "not HDF5 at all\n");
  folder.write("empty.h5", "");
  folder.write("empty.model", "");
  folder.write("typo.conf", "# a comment\npreset = tiny\nglobal-bacth = 64\n");
  folder.write("syntax.conf", "preset tiny\n");
  folder.write("broken.json", "{\"preset\": \"tiny\",\n \"lr\": }\n");
  Hdf5Writer foreign(at / "foreign.h5");
  const std::vector<float> values{1, 2, 3};
  foreign.write<float>("/measurements", std::span<const float>(values), {3});
  foreign.commit();
}

}  // namespace toller
