#include "text/tokenizer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "error.h"
#include "text/byte_level_bpe_file.h"
#include "text/sentencepiece_model.h"
#include "text/sentencepiece_unigram.h"
#include "text/tokenizer_json.h"
#include "text/unigram_file.h"
#include "text/wordpiece_file.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

/// ICU and sentencepiece count with 32 bits, and what they make of a text may be longer.
constexpr std::size_t kLongestText = std::size_t{1} << 28;

std::string read_file(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) fail("{}: is a folder, expected a tokenizer", path.string());
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("{}: cannot open the tokenizer: {}", path.string(), std::strerror(errno));
  std::ostringstream bytes;
  bytes << file.rdbuf();
  if (!file || !bytes) fail("{}: not a tokenizer: the file is empty or cannot be read", path.string());
  return std::move(bytes).str();
}

std::unique_ptr<SubwordModel> load_vocabulary(const fs::path& path, bool cased) {
  const fs::path config = fs::path(path).replace_filename("tokenizer_config.json");
  const bool has_config = fs::exists(config);
  WordPieceSettings settings =
      read_wordpiece_vocabulary(read_file(path), path.string(), has_config ? read_file(config) : "{}",
                                has_config ? config.string() : path.string());
  if (cased) settings.normalizer.lowercase = false;
  return std::make_unique<WordPiece>(std::move(settings), path.string());
}

std::unique_ptr<SubwordModel> read_json(std::string_view text, const std::string& origin) {
  const nlohmann::json json = parse_tokenizer_json(text, origin);
  const JsonFields root(json, origin);
  const JsonFields model = root.object("model");
  const std::string type = model.text("type");
  if (type == "WordPiece") return std::make_unique<WordPiece>(read_wordpiece_json(root), origin);
  if (type == "BPE") return std::make_unique<ByteLevelBpe>(read_byte_level_bpe_json(root), origin);
  if (type == "Unigram") return std::make_unique<Unigram>(read_unigram_json(root), origin);
  model.refuse("type", "supported are WordPiece, BPE and Unigram");
}

}  // namespace

Tokenizer Tokenizer::train(const std::vector<std::string>& texts, const TrainOptions& options) {
  const std::string origin = "the trained tokenizer";
  Tokenizer tokenizer(std::make_unique<Unigram>(
      unigram_of_sentencepiece(train_sentencepiece_model(texts, options), origin), origin));
  if (tokenizer.vocabulary_size() < options.vocabulary_size) {
    fail("tokenizer training: a vocabulary of {} is too large for these texts; the largest possible is {}",
         options.vocabulary_size, tokenizer.vocabulary_size());
  }
  return tokenizer;
}

Tokenizer Tokenizer::load(const std::string& path, bool cased) {
  const fs::path extension = fs::path(path).extension();
  if (extension == ".txt") return Tokenizer(load_vocabulary(path, cased));
  std::string bytes = read_file(path);
  if (cased) fail("{}: holds itself what becomes of upper case; only a vocab.txt leaves that open", path);
  if (extension == ".json") {
    return Tokenizer(read_json(bytes, path));
  }
  return from_bytes(std::move(bytes), path);
}

Tokenizer Tokenizer::load_xlm_roberta(const std::string& path) {
  std::string bytes = read_file(path);
  UnigramSettings settings = xlm_roberta_of_sentencepiece(bytes, path);
  return Tokenizer(std::make_unique<Unigram>(std::move(settings), path));
}

Tokenizer Tokenizer::from_bytes(std::string bytes, const std::string& origin) {
  if (is_tokenizer_json(bytes)) return Tokenizer(read_json(bytes, origin));
  return Tokenizer(read_sentencepiece_model(std::move(bytes), origin));
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, std::int32_t max_length) const {
  if (max_length < 2) fail("encode: max_length is {}, at least 2 is needed for [CLS] and [SEP]", max_length);
  if (text.size() > kLongestText)
    fail("encode: a text of {} bytes; at most {} can be tokenized", text.size(), kLongestText);
  std::vector<std::int32_t> tokens;
  if (special().begin >= 0) tokens.push_back(special().begin);
  model_->encode(text, static_cast<std::size_t>(max_length) - 1 - tokens.size(), tokens);
  tokens.push_back(special().end);
  return tokens;
}

std::string Tokenizer::decode(const std::vector<std::int32_t>& tokens) const {
  const SpecialTokens special = this->special();
  std::vector<std::int32_t> pieces;
  pieces.reserve(tokens.size());
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= vocabulary_size()) {
      fail("decode: token {} lies outside the vocabulary of {}", token, vocabulary_size());
    }
    if (token != special.pad && token != special.begin && token != special.end) pieces.push_back(token);
  }
  return model_->decode(pieces);
}

bool is_tokenizer_json(const std::string& bytes) {
  // A sentencepiece model cannot begin so: as a field of a protocol buffer, the brace opens a group.
  return bytes.starts_with('{');
}

std::string as_tokenizer_json(const std::string& bytes, const std::string& origin) {
  if (is_tokenizer_json(bytes)) return Tokenizer::from_bytes(bytes, origin).bytes();
  return Unigram(unigram_of_sentencepiece(bytes, origin), origin).bytes();
}

bool is_same_tokenizer(const std::string& one, const std::string& other) {
  if (one == other) return true;
  if (!is_tokenizer_json(one) || !is_tokenizer_json(other)) return false;
  return Tokenizer::from_bytes(one, "the first tokenizer").bytes() ==
         Tokenizer::from_bytes(other, "the second tokenizer").bytes();
}

}  // namespace toller
