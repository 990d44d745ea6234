#include "data/collection_tokenizer.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <nlohmann/json.hpp>

#include "error.h"
#include "seconds_since.h"

namespace toller {
namespace {

/// Texts that a thread takes at a time.
constexpr std::int64_t kShare = 256;

/// All but the texts that tokens depend on.
Fingerprint settings_of(const Tokenizer& tokenizer, const TextForm& form) {
  Fingerprinter fingerprinter;
  fingerprinter.add(TOLLER_VERSION);
  fingerprinter.add(tokenizer.bytes());
  fingerprinter.add(to_json(form).dump());
  return fingerprinter.value();
}

}  // namespace

std::filesystem::path kept_tokens_path(const std::filesystem::path& store) {
  std::filesystem::path kept = store;
  kept += ".partial";
  return kept;
}

CollectionTokenizer::CollectionTokenizer(const Collection& collection, const Tokenizer& tokenizer,
                                         const TextForm& form, int threads,
                                         const std::filesystem::path& store, const StoreWatch& watch)
    : tokenizer_(tokenizer),
      threads_(threads),
      watch_(watch),
      documents_{collection.documents, form.documents, {}},
      queries_{collection.queries, form.queries, {}} {
  report_.texts = progress_.total = std::ssize(documents_.records) + std::ssize(queries_.records);
  const std::filesystem::path kept = kept_tokens_path(store);
  if (report_.texts <= watch.least_kept && !std::filesystem::exists(kept)) return;
  make_keys(documents_, "documents");
  make_keys(queries_, "queries");
  open_blocks(form, kept);
}

void CollectionTokenizer::make_keys(Side& side, const char* name) const {
  const std::int64_t rows = std::ssize(side.records);
  for (std::int64_t first = 0; first < rows; first += watch_.block) {
    Fingerprinter fingerprinter;
    fingerprinter.add(name);
    const std::int64_t last = std::min(rows, first + watch_.block);
    for (std::int64_t row = first; row < last; ++row) fingerprinter.add(side.records[row].text);
    side.keys.push_back(fingerprinter.value());
  }
}

void CollectionTokenizer::open_blocks(const TextForm& form, const std::filesystem::path& kept) {
  blocks_.emplace(kept, settings_of(tokenizer_, form));
  const auto say = [&](const std::string& message) {
    if (watch_.say) watch_.say(message);
  };
  if (blocks_->was_discarded()) {
    say(fmt::format("{}: of another tokenizer, other lengths or prompts: not used", kept.string()));
  }
  if (blocks_->texts() == 0) return;
  std::int64_t found = 0;
  for (const Side* side : {&documents_, &queries_}) {
    const std::int64_t rows = std::ssize(side->records);
    for (std::size_t i = 0; i < side->keys.size(); ++i) {
      const std::int64_t first = static_cast<std::int64_t>(i) * watch_.block;
      if (blocks_->has(side->keys[i])) found += std::min(watch_.block, rows - first);
    }
  }
  say(fmt::format("{}: {} of {} texts are tokenized already", kept.string(), found, report_.texts));
  if (found < blocks_->texts()) {
    say(fmt::format("{}: {} texts in it are not those of this collection any more: not used", kept.string(),
                    blocks_->texts() - found));
  }
}

void CollectionTokenizer::forget_blocks() {
  if (blocks_) blocks_->remove();
}

TokenTable CollectionTokenizer::tokenize(const Side& side) {
  const auto start = std::chrono::steady_clock::now();
  TokenTable table;
  table.offsets.reserve(side.records.size() + 1);
  for (std::size_t number = 0; table.rows() < std::ssize(side.records); ++number) {
    const TokenBlock tokens = block(side, number);
    table.tokens.insert(table.tokens.end(), tokens.tokens.begin(), tokens.tokens.end());
    for (const std::int32_t length : tokens.lengths) {
      table.offsets.push_back(table.offsets.back() + length);
      report_.longest = std::max(report_.longest, length);
    }
    report_.cut += tokens.cut;
  }
  report_.tokens += std::ssize(table.tokens);
  report_.unknown += std::ranges::count(table.tokens, tokenizer_.special().unknown);
  report_.seconds += seconds_since(start);
  return table;
}

/// Kept, or made now and kept.
TokenBlock CollectionTokenizer::block(const Side& side, std::size_t number) {
  const std::int64_t first = static_cast<std::int64_t>(number) * watch_.block;
  const std::int64_t last = std::min(std::ssize(side.records), first + watch_.block);
  if (!blocks_) return encode_block(side, first, last);
  const Fingerprint& key = side.keys[number];
  if (!blocks_->has(key)) {
    TokenBlock made = encode_block(side, first, last);
    blocks_->append(key, made);
    return made;
  }
  TokenBlock kept = blocks_->read(key);
  progress_.kept_texts = report_.kept_texts += last - first;
  report_.kept_tokens += std::ssize(kept.tokens);
  if (watch_.tokenizing) watch_.tokenizing(progress_);
  return kept;
}

/// One token more than is kept is asked for: if it comes, the text is longer than it may be.
std::vector<std::int32_t> CollectionTokenizer::encode(const SideForm& form, const std::string& text,
                                                      std::int64_t& cut) const {
  std::vector<std::int32_t> tokens = form.prompt.empty()
                                         ? tokenizer_.encode(text, form.max_length + 1)
                                         : tokenizer_.encode(form.prompt + text, form.max_length + 1);
  if (tokens.size() > static_cast<std::size_t>(form.max_length)) {
    tokens.resize(static_cast<std::size_t>(form.max_length));
    tokens.back() = tokenizer_.special().end;
    ++cut;
  }
  return tokens;
}

TokenBlock CollectionTokenizer::encode_block(const Side& side, std::int64_t first, std::int64_t last) {
  std::vector<std::vector<std::int32_t>> rows(static_cast<std::size_t>(last - first));
  TokenBlock made;
  std::int64_t cut = 0;
  std::atomic<std::int64_t> texts = 0, tokens = 0;
  std::atomic<bool> failed = false;
  std::exception_ptr error;  // an exception must not leave the parallel region
#pragma omp parallel for num_threads(threads_) schedule(dynamic, 1) reduction(+ : cut)
  for (std::int64_t begin = first; begin < last; begin += kShare) {
    if (failed.load(std::memory_order_relaxed)) continue;
    try {
      const std::int64_t end = std::min(last, begin + kShare);
      std::int64_t added = 0;
      for (std::int64_t row = begin; row < end; ++row) {
        rows[row - first] = encode(side.form, side.records[row].text, cut);
        added += std::ssize(rows[row - first]);
      }
      texts += end - begin;
      tokens += added;
      // The thread that came here, since what is told may be for it alone.
      if (omp_get_thread_num() == 0 && watch_.tokenizing) {
        TokenizeProgress progress = progress_;
        progress.texts += texts;
        progress.tokens += tokens;
        watch_.tokenizing(progress);
      }
    } catch (...) {
#pragma omp critical(toller_tokenize_error)
      error = std::current_exception();
      failed = true;
    }
  }
  if (error) std::rethrow_exception(error);
  progress_.texts += texts;
  progress_.tokens += tokens;
  made.cut = cut;
  made.tokens.reserve(static_cast<std::size_t>(tokens));
  for (const auto& row : rows) {
    made.lengths.push_back(static_cast<std::int32_t>(row.size()));
    made.tokens.insert(made.tokens.end(), row.begin(), row.end());
  }
  return made;
}

}  // namespace toller
