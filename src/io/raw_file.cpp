#include "io/raw_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "error.h"

namespace toller {

RawFile::RawFile(const std::filesystem::path& path, int flags)
    : descriptor_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
  if (descriptor_ < 0) throw Error(std::strerror(errno));
}

RawFile::~RawFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

RawFile::RawFile(RawFile&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

int RawFile::write(std::span<const std::byte> bytes, std::uint64_t place) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(place));
    if (written < 0 && errno != EINTR) return errno;
    if (written < 0) continue;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    place += static_cast<std::uint64_t>(written);
  }
  return 0;
}

int RawFile::read(std::span<std::byte> bytes, std::uint64_t place) {
  while (!bytes.empty()) {
    const ssize_t count = ::pread(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(place));
    if (count < 0 && errno != EINTR) return errno;
    if (count < 0) continue;
    if (count == 0) break;
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    place += static_cast<std::uint64_t>(count);
  }
  std::ranges::fill(bytes, std::byte{0});
  return 0;
}

int RawFile::truncate(std::uint64_t size) {
  return ::ftruncate(descriptor_, static_cast<off_t>(size)) != 0 ? errno : 0;
}

int RawFile::sync() {
  return ::fsync(descriptor_) != 0 ? errno : 0;
}

int RawFile::drop_cache() {
  return ::posix_fadvise(descriptor_, 0, 0, POSIX_FADV_DONTNEED);
}

int RawFile::close() {
  return ::close(std::exchange(descriptor_, -1)) != 0 ? errno : 0;
}

}  // namespace toller
