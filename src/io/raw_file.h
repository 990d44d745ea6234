// A file that is read and written at given places, by system calls alone: any thread may do so, whatever HDF5
// does meanwhile. Methods return 0 or the error (errno).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace toller {

class RawFile {
 public:
  /// `flags`: open()'s, such as O_RDWR. Throws Error with the bare reason.
  RawFile(const std::filesystem::path& path, int flags);
  ~RawFile();
  RawFile(RawFile&& other) noexcept;
  RawFile(const RawFile&) = delete;
  RawFile& operator=(const RawFile&) = delete;
  RawFile& operator=(RawFile&&) = delete;

  int write(std::span<const std::byte> bytes, std::uint64_t place);
  /// What lies beyond the end of the file reads as 0.
  int read(std::span<std::byte> bytes, std::uint64_t place);
  int truncate(std::uint64_t size);
  /// Waits until what was written is on disk.
  int sync();
  /// After sync(): what is read next comes from the disk, where the system can be told so.
  int drop_cache();
  int close();

 private:
  int descriptor_;
};

}  // namespace toller
