#include "io/new_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <span>

#include "error.h"
#include "io/raw_file.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

}  // namespace

NewFolder::NewFolder(const fs::path& path) : path_(path) {
  if (!path_.has_filename()) path_ = path_.parent_path();  // "folder/"
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path_, error);
  if (fs::exists(status) && !(fs::is_directory(status) && fs::is_empty(path_, error))) {
    fail("{}: is there already; name a folder that is new or empty", path_.string());
  }
  temporary_ = path_;
  temporary_ += fmt::format(".{}.tmp", ::getpid());
  if (!fs::create_directory(temporary_, error)) {
    fail("{}: cannot create: {}", temporary_.string(), error ? error.message() : "is there already");
  }
}

NewFolder::~NewFolder() {
  std::error_code error;
  if (!temporary_.empty()) fs::remove_all(temporary_, error);
}

void NewFolder::write(const std::string& name, std::string_view bytes) const {
  const fs::path path = temporary_ / name;
  std::error_code ignored;  // of what cannot be made, the file says why
  fs::create_directories(path.parent_path(), ignored);
  try {
    RawFile file(path, O_WRONLY | O_CREAT | O_EXCL);
    int error = file.write(std::as_bytes(std::span(bytes)), 0);
    if (error == 0) error = file.sync();
    if (error == 0) error = file.close();
    if (error != 0) throw Error(std::strerror(error));
  } catch (const Error& problem) {
    fail("{}: cannot write: {}", path.string(), problem.what());
  }
}

void NewFolder::commit() {
  std::error_code error;
  fs::rename(temporary_, path_, error);
  if (error) fail("{}: cannot rename into place: {}", path_.string(), error.message());
  temporary_.clear();
}

}  // namespace toller
