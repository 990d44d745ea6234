// A folder that appears under its name only when all of its files are whole and on disk.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace toller {

/// Files are made in a folder under a temporary name beside `path`, which commit() renames. Destroyed before
/// that, it removes the temporary folder. All methods throw Error naming the file.
class NewFolder {
 public:
  /// Error if `path` is there already, unless it is an empty folder.
  explicit NewFolder(const std::filesystem::path& path);
  ~NewFolder();
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

  /// Where the files lie until commit().
  const std::filesystem::path& temporary() const { return temporary_; }
  /// Writes a file and waits until it is on disk. `name` may have folders in it, which are made.
  void write(const std::string& name, std::string_view bytes) const;
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
};

}  // namespace toller
