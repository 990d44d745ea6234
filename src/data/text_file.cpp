#include "data/text_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "text/unicode.h"

namespace toller {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::size_t kReadBlock = std::size_t{1} << 18;
constexpr std::size_t kLongestLine = std::size_t{256} << 20;
constexpr std::size_t kWriteBlock = std::size_t{1} << 20;

}  // namespace

LineReader::LineReader(std::filesystem::path path, const ReadWatch& watch)
    : path_(std::move(path)), source_(open_source(path_, watch)), block_(kReadBlock) {}

void LineReader::fail_at(std::int64_t number, const std::string& message) const {
  fail("{}:{}: {}", path_.string(), number, message);
}

/// Into buffer_, without the line feed; false if there was nothing more.
bool LineReader::read_to_line_feed() {
  buffer_.clear();
  for (bool begun = false;; begun = true) {
    if (rest_.empty()) rest_ = std::span(block_).first(source_->read(block_));
    if (rest_.empty()) return begun;
    const auto* end = static_cast<const char*>(std::memchr(rest_.data(), '\n', rest_.size()));
    const std::size_t size = end != nullptr ? static_cast<std::size_t>(end - rest_.data()) : rest_.size();
    if (buffer_.size() + size > kLongestLine) fail_at(number_ + 1, "the line has more than 256 MiB");
    buffer_.append(rest_.data(), size);
    rest_ = rest_.subspan(end != nullptr ? size + 1 : size);
    if (end != nullptr) return true;
  }
}

bool LineReader::read_line() {
  if (!read_to_line_feed()) return false;
  ++number_;
  if (number_ == 1 && buffer_.starts_with(kByteOrderMark)) buffer_.erase(0, kByteOrderMark.size());
  if (!buffer_.empty() && buffer_.back() == '\r') buffer_.pop_back();
  return true;
}

bool LineReader::next(std::string_view& line) {
  if (!read_line()) return false;
  if (buffer_.find_first_not_of(" \t") == std::string::npos) {
    const std::int64_t empty = number_;
    while (read_line()) {
      if (buffer_.find_first_not_of(" \t") != std::string::npos) fail_at(empty, "empty line");
    }
    return false;
  }
  const std::int64_t invalid = find_invalid_utf8(buffer_);
  if (invalid >= 0) fail_here("byte {} is not valid UTF-8", invalid + 1);
  line = buffer_;
  return true;
}

AtomicFileWriter::AtomicFileWriter(std::filesystem::path path) : path_(std::move(path)) {
  temporary_ = path_;
  temporary_ += fmt::format(".tmp-{}", ::getpid());
  file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) fail_system("create");
}

AtomicFileWriter::~AtomicFileWriter() {
  if (file_ < 0) return;
  ::close(file_);
  ::unlink(temporary_.c_str());
}

void AtomicFileWriter::fail_system(const char* what) const {
  fail("{}: cannot {}: {}", path_.string(), what, std::strerror(errno));
}

void AtomicFileWriter::write(std::string_view bytes) {
  buffer_ += bytes;
  if (buffer_.size() >= kWriteBlock) flush();
}

void AtomicFileWriter::flush() {
  std::string_view rest = buffer_;
  while (!rest.empty()) {
    const ssize_t written = ::write(file_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_system("write");
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  buffer_.clear();
}

void AtomicFileWriter::commit() {
  flush();
  if (::fsync(file_) != 0) fail_system("flush to disk");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_system("rename into place");
  ::close(file_);
  file_ = -1;
  // The name itself must survive a crash too; a file system that cannot sync a folder is no reason to fail.
  const std::filesystem::path folder = path_.has_parent_path() ? path_.parent_path() : ".";
  const int handle = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle < 0) return;
  ::fsync(handle);
  ::close(handle);
}

}  // namespace toller
