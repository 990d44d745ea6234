// Files of a collection as they are stored: plain, or compressed as NAME.gz (gzip) or NAME.zst (Zstandard).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace toller {

/// How far a file has been read.
struct ReadProgress {
  const std::filesystem::path& file;
  std::int64_t bytes = 0;  ///< as they are stored
  std::int64_t size = 0;   ///< of the file; 0 if it is none, such as a pipe
};
/// Told after every block that is read. What it throws ends the reading.
using ReadWatch = std::function<void(const ReadProgress&)>;

/// The content of a file from its beginning to its end.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Fills the beginning of `out`, which is not empty, and returns how much; 0 at the end. Throws Error that
  /// names the file if it cannot be read, is damaged, cut short, or has something after its end.
  virtual std::size_t read(std::span<char> out) = 0;
};

/// Opens a file and decompresses it if its name ends in .gz (also several members, one after the other) or
/// .zst. In memory it takes little more than Zstandard's window, at most 128 MiB.
std::unique_ptr<ByteSource> open_source(const std::filesystem::path& path, const ReadWatch& watch = {});

/// The path without .gz or .zst at its end.
std::filesystem::path plain_name(const std::filesystem::path& path);

/// The one that is there of `plain`, plain.gz and plain.zst, or `plain` if none is. Error if several are.
std::filesystem::path stored_as(const std::filesystem::path& plain);

/// The files of a folder whose plain names end in `extension`, by what stands before it. None if there is no
/// such folder. Error if a name is there in several forms.
std::map<std::string, std::filesystem::path> stored_files(const std::filesystem::path& folder,
                                                          std::string_view extension);

}  // namespace toller
