#include "data/token_block_file.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "error.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

struct Header {
  std::array<char, 8> magic{'T', 'O', 'L', 'L', 'E', 'R', 'T', 'B'};
  std::uint64_t version = 1;
  Fingerprint settings;
  std::uint64_t checksum = 0;
};

struct BlockHeader {
  Fingerprint key;
  std::int64_t rows = 0;
  std::int64_t tokens = 0;
  std::int64_t cut = 0;
  std::uint64_t checksum = 0;
};

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

/// Of a header without its last field.
template <class T>
std::uint64_t checksum_of_fields(const T& header) {
  return checksum_of(bytes_of(header).first(sizeof(T) - sizeof(header.checksum)));
}

std::uint64_t checksum_of_content(const TokenBlock& block) {
  Checksum sum;
  sum.update(std::as_bytes(std::span(block.lengths)));
  sum.update(std::as_bytes(std::span(block.tokens)));
  return sum.value();
}

bool is_consistent(const TokenBlock& block) {
  std::int64_t total = 0;
  for (const std::int32_t length : block.lengths) {
    if (length < 1) return false;
    total += length;
  }
  return total == std::ssize(block.tokens);
}

}  // namespace

TokenBlockFile::TokenBlockFile(fs::path path, const Fingerprint& settings)
    : path_(std::move(path)), settings_(settings) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(path_, error);
  if (error) return;  // there is none
  size_ = size;
  try {
    file_.emplace(path_, O_RDWR);
  } catch (const Error& problem) {
    fail("{}: cannot open: {}; it is what an interrupted run left", path_.string(), problem.what());
  }
  discarded_ = !read_header();
  if (discarded_) {
    remove();
  } else {
    find_blocks();
  }
}

bool TokenBlockFile::read_all(std::span<std::byte> bytes, std::uint64_t place) {
  return place <= size_ && bytes.size() <= size_ - place && file_->read(bytes, place) == 0;
}

bool TokenBlockFile::read_header() {
  const Header expected{.settings = settings_};
  Header header;
  if (!read_all(std::as_writable_bytes(std::span(&header, 1)), 0)) return false;
  if (header.magic != expected.magic) {
    fail("{}: is in the way: toller prepare keeps tokens under this name while it works", path_.string());
  }
  return header.version == expected.version && header.settings == settings_ &&
         header.checksum == checksum_of_fields(header);
}

void TokenBlockFile::find_blocks() {
  end_ = sizeof(Header);
  Fingerprint key;
  while (const auto block = load(end_, key)) {
    places_[key] = end_;
    texts_ += std::ssize(block->lengths);
    end_ += sizeof(BlockHeader) + (block->lengths.size() + block->tokens.size()) * sizeof(std::int32_t) +
            sizeof(std::uint64_t);
  }
}

/// Nothing if there is no sound block at this place.
std::optional<TokenBlock> TokenBlockFile::load(std::uint64_t place, Fingerprint& key) {
  BlockHeader header;
  if (!read_all(std::as_writable_bytes(std::span(&header, 1)), place)) return std::nullopt;
  if (header.checksum != checksum_of_fields(header)) return std::nullopt;
  place += sizeof(header);
  const auto most = static_cast<std::int64_t>((size_ - place) / sizeof(std::int32_t));
  if (header.rows < 0 || header.rows > most || header.tokens < 0 || header.tokens > most - header.rows) {
    return std::nullopt;
  }
  TokenBlock block{std::vector<std::int32_t>(static_cast<std::size_t>(header.rows)),
                   std::vector<std::int32_t>(static_cast<std::size_t>(header.tokens)), header.cut};
  const auto lengths = std::as_writable_bytes(std::span(block.lengths));
  const auto tokens = std::as_writable_bytes(std::span(block.tokens));
  std::uint64_t checksum = 0;
  const bool is_read =
      read_all(lengths, place) && read_all(tokens, place + lengths.size()) &&
      read_all(std::as_writable_bytes(std::span(&checksum, 1)), place + lengths.size() + tokens.size());
  if (!is_read || checksum != checksum_of_content(block) || !is_consistent(block)) return std::nullopt;
  key = header.key;
  return block;
}

TokenBlock TokenBlockFile::read(const Fingerprint& key) {
  Fingerprint found;
  std::optional<TokenBlock> block = load(places_.at(key), found);
  if (!block || found != key) fail("{}: changed while it was read; remove it", path_.string());
  return *std::move(block);
}

void TokenBlockFile::create() {
  try {
    file_.emplace(path_, O_RDWR | O_CREAT | O_TRUNC);
  } catch (const Error& problem) {
    fail("{}: cannot create: {}", path_.string(), problem.what());
  }
  size_ = end_ = 0;
  Header header{.settings = settings_};
  header.checksum = checksum_of_fields(header);
  write(bytes_of(header));
  end_ = sizeof(header);
}

/// At the end of what was written so far.
void TokenBlockFile::write(std::span<const std::byte> bytes) {
  const int error = file_->write(bytes, size_);
  if (error != 0) {
    file_->truncate(end_);
    fail(
        "{}: cannot write: {}; the blocks that were written are kept, and the same command goes on with them",
        path_.string(), std::strerror(error));
  }
  size_ += bytes.size();
}

void TokenBlockFile::append(const Fingerprint& key, const TokenBlock& block) {
  if (!file_) create();
  size_ = end_;
  BlockHeader header{key, std::ssize(block.lengths), std::ssize(block.tokens), block.cut};
  header.checksum = checksum_of_fields(header);
  write(bytes_of(header));
  write(std::as_bytes(std::span(block.lengths)));
  write(std::as_bytes(std::span(block.tokens)));
  write(bytes_of(checksum_of_content(block)));
  places_[key] = std::exchange(end_, size_);
}

void TokenBlockFile::remove() {
  if (!file_) return;
  file_.reset();
  std::error_code ignored;  // it does no harm
  fs::remove(path_, ignored);
}

}  // namespace toller
