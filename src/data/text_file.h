// Text files line by line: reading with errors that name file and line, and writing under a temporary name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/stored_file.h"
#include "error.h"

namespace toller {

/// Streams the lines of a UTF-8 file, which may be compressed (open_source). A byte order mark, CR before LF
/// and empty lines at the end are tolerated; bytes that are not UTF-8, an empty line before the end and a
/// line of more than 256 MiB are errors.
class LineReader {
 public:
  explicit LineReader(std::filesystem::path path, const ReadWatch& watch = {});

  const std::filesystem::path& path() const { return path_; }

  /// The next line without its end, valid until the next call; false at the end of the file.
  bool next(std::string_view& line);
  /// Number of the line that `next` gave last, from 1.
  std::int64_t line_number() const { return number_; }

  /// Throws Error "<file>:<line>: …" for the line that `next` gave last.
  template <class... Args>
  [[noreturn]] void fail_here(fmt::format_string<Args...> format, Args&&... args) const {
    fail_at(number_, fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  [[noreturn]] void fail_at(std::int64_t number, const std::string& message) const;
  bool read_line();
  bool read_to_line_feed();

  std::filesystem::path path_;
  std::unique_ptr<ByteSource> source_;
  std::vector<char> block_;     ///< what was read last; of it,
  std::span<const char> rest_;  ///< what belongs to the lines to come
  std::string buffer_;
  std::int64_t number_ = 0;
};

/// Writes a file under a temporary name beside `path`. `commit` flushes, fsyncs and renames over `path`; a
/// writer destroyed before that removes its temporary file and leaves `path` as it was.
class AtomicFileWriter {
 public:
  explicit AtomicFileWriter(std::filesystem::path path);
  ~AtomicFileWriter();
  AtomicFileWriter(const AtomicFileWriter&) = delete;
  AtomicFileWriter& operator=(const AtomicFileWriter&) = delete;

  void write(std::string_view bytes);
  void commit();

 private:
  void flush();
  [[noreturn]] void fail_system(const char* what) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::string buffer_;
  int file_ = -1;
};

}  // namespace toller
