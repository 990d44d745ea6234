#include "data/stored_file.h"

#include <zlib.h>
#include <zstd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>
#include <vector>

#include "error.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBlock = std::size_t{1} << 18;

class PlainSource final : public ByteSource {
 public:
  PlainSource(fs::path path, ReadWatch watch) : path_(std::move(path)), watch_(std::move(watch)) {
    std::error_code ignored;
    if (fs::is_directory(path_, ignored)) fail("{}: is a folder, expected a file", path_.string());
    file_.open(path_, std::ios::binary);
    if (!file_) fail("{}: cannot open: {}", path_.string(), std::strerror(errno));
    if (fs::is_regular_file(path_, ignored)) size_ = static_cast<std::int64_t>(fs::file_size(path_, ignored));
  }

  const fs::path& path() const { return path_; }

  std::size_t read(std::span<char> out) override {
    file_.read(out.data(), static_cast<std::streamsize>(out.size()));
    if (file_.bad()) fail("{}: cannot read after byte {}: {}", path_.string(), bytes_, std::strerror(errno));
    const std::streamsize count = file_.gcount();
    bytes_ += count;
    if (watch_) watch_({path_, bytes_, size_});
    return static_cast<std::size_t>(count);
  }

 private:
  fs::path path_;
  ReadWatch watch_;
  std::ifstream file_;
  std::int64_t bytes_ = 0;
  std::int64_t size_ = 0;
};

/// What the two decompressors have in common: a buffer of stored bytes.
class CompressedSource : public ByteSource {
 public:
  std::size_t read(std::span<char> out) override {
    for (;;) {
      const bool at_end = rest_.empty() && !refill();
      if (at_end && complete_) return 0;
      const std::size_t before = rest_.size();
      const std::size_t produced = decompress(out);
      if (produced > 0) return produced;
      if (at_end && rest_.size() == before) fail("{}: is cut short", path().string());
    }
  }

 protected:
  explicit CompressedSource(PlainSource stored) : stored_(std::move(stored)), buffer_(kBlock) {}

  const fs::path& path() const { return stored_.path(); }
  /// Takes bytes from the beginning of rest_, and returns how many it made of them.
  virtual std::size_t decompress(std::span<char> out) = 0;

  std::span<char> rest_;   ///< stored bytes to come
  bool complete_ = false;  ///< a file may end here

 private:
  bool refill() {
    rest_ = std::span(buffer_).first(stored_.read(buffer_));
    return !rest_.empty();
  }

  PlainSource stored_;
  std::vector<char> buffer_;
};

class GzipSource final : public CompressedSource {
 public:
  explicit GzipSource(PlainSource stored) : CompressedSource(std::move(stored)) {
    constexpr int kGzipWithLargestWindow = 16 + MAX_WBITS;
    if (inflateInit2(&stream_, kGzipWithLargestWindow) != Z_OK) throw std::bad_alloc();
  }
  ~GzipSource() override { inflateEnd(&stream_); }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;

 private:
  std::size_t decompress(std::span<char> out) override {
    const bool is_first = members_ == 0;
    if (std::exchange(complete_, false)) inflateReset(&stream_);
    stream_.next_in = reinterpret_cast<Bytef*>(rest_.data());
    stream_.avail_in = static_cast<uInt>(rest_.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    const int status = inflate(&stream_, Z_NO_FLUSH);
    rest_ = rest_.last(stream_.avail_in);
    if (status == Z_MEM_ERROR) throw std::bad_alloc();
    if (status == Z_STREAM_END) {
      complete_ = true;
      ++members_;
    } else if (status != Z_OK && status != Z_BUF_ERROR) {
      const char* reason = stream_.msg != nullptr ? stream_.msg : "a dictionary is needed";
      if (stream_.total_out > 0) fail("{}: is damaged: {}", path().string(), reason);
      fail("{}: {}: {}", path().string(), is_first ? "is not a gzip file" : "has no gzip data after its end",
           reason);
    }
    return out.size() - stream_.avail_out;
  }

  z_stream stream_{};
  std::int64_t members_ = 0;
};

class ZstdSource final : public CompressedSource {
 public:
  explicit ZstdSource(PlainSource stored) : CompressedSource(std::move(stored)) {
    if (stream_ == nullptr) throw std::bad_alloc();
  }

 private:
  std::size_t decompress(std::span<char> out) override {
    ZSTD_inBuffer from{rest_.data(), rest_.size(), 0};
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    const std::size_t result = ZSTD_decompressStream(stream_.get(), &to, &from);
    if (ZSTD_isError(result) != 0) {
      fail("{}: is damaged, or not a Zstandard file: {}", path().string(), ZSTD_getErrorName(result));
    }
    rest_ = rest_.subspan(from.pos);
    complete_ = result == 0;
    return to.pos;
  }

  std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> stream_{ZSTD_createDStream(),
                                                                        ZSTD_freeDStream};
};

constexpr std::array<std::string_view, 3> kEndings = {"", ".gz", ".zst"};

}  // namespace

std::unique_ptr<ByteSource> open_source(const fs::path& path, const ReadWatch& watch) {
  PlainSource stored(path, watch);
  if (path.extension() == ".gz") return std::make_unique<GzipSource>(std::move(stored));
  if (path.extension() == ".zst") return std::make_unique<ZstdSource>(std::move(stored));
  return std::make_unique<PlainSource>(std::move(stored));
}

fs::path plain_name(const fs::path& path) {
  const bool is_compressed = path.extension() == ".gz" || path.extension() == ".zst";
  return is_compressed ? fs::path(path).replace_extension() : path;
}

fs::path stored_as(const fs::path& plain) {
  fs::path found;
  for (const std::string_view ending : kEndings) {
    fs::path path = plain;
    path += ending;
    std::error_code ignored;
    if (!fs::exists(path, ignored)) continue;
    if (!found.empty()) fail("{}: {} is there too; remove one", path.string(), found.filename().string());
    found = path;
  }
  return found.empty() ? plain : found;
}

std::map<std::string, fs::path> stored_files(const fs::path& folder, std::string_view extension) {
  std::map<std::string, fs::path> found;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    const fs::path plain = plain_name(entry.path());
    if (plain.extension() == extension) found[plain.stem().string()] = stored_as(plain);
  }
  return found;
}

}  // namespace toller
