#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "error.h"
#include "io/hdf5_file.h"
#include "io/hdf5_handle.h"
#include "io/hdf5_output.h"

namespace toller {
namespace {

constexpr std::int64_t kChunkBytes = std::int64_t{1} << 20;
constexpr unsigned kDeflateLevel = 6;

/// Waits until a folder's entries are on disk; 0 or errno. Some file systems cannot sync folders.
int sync_folder(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return errno;
  const int error = ::fsync(descriptor) != 0 && errno != EINVAL ? errno : 0;
  ::close(descriptor);
  return error;
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

void check_target(const std::filesystem::path& path) {
  std::error_code error;
  if (path.filename().empty()) fail("{}: cannot write: the name ends in '/'", path.string());
  const auto folder = std::filesystem::status(folder_of(path), error);
  if (folder.type() == std::filesystem::file_type::not_found) {
    fail("{}: cannot write: the folder {} does not exist", path.string(), folder_of(path).string());
  }
  const auto target = std::filesystem::status(path, error);
  if (std::filesystem::exists(target) && !std::filesystem::is_regular_file(target)) {
    fail("{}: cannot write: it exists and is not a regular file", path.string());
  }
}

/// Properties of a new data set: no time stamps, so that the same content gives the same bytes.
Hdf5Handle dataset_properties(const std::vector<std::int64_t>& shape, std::size_t element_bytes,
                              std::size_t elements, bool compress) {
  Hdf5Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(properties.get(), false);
  H5Pset_fill_time(properties.get(), H5D_FILL_TIME_NEVER);
  if (!compress || shape.empty() || elements == 0) return properties;
  std::vector<hsize_t> chunk(shape.begin(), shape.end());
  const auto row_bytes = static_cast<std::int64_t>(elements * element_bytes) / shape.front();
  chunk.front() = static_cast<hsize_t>(
      std::clamp<std::int64_t>(kChunkBytes / std::max<std::int64_t>(1, row_bytes), 1, shape.front()));
  H5Pset_chunk(properties.get(), static_cast<int>(chunk.size()), chunk.data());
  H5Pset_shuffle(properties.get());
  H5Pset_deflate(properties.get(), kDeflateLevel);
  return properties;
}

Hdf5Handle data_space(const std::vector<std::int64_t>& shape) {
  if (shape.empty()) return {H5Screate(H5S_SCALAR), H5Sclose};
  const std::vector<hsize_t> extents(shape.begin(), shape.end());
  return {H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr), H5Sclose};
}

/// Throws Error with the bare reason. It must be asked for before any identifier is closed.
void require(bool success) {
  if (!success) throw Error(hdf5_reason());
}

void write_attribute(hid_t object, const char* name, hid_t type, const void* value) {
  const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  Hdf5Handle attribute(H5Acreate2(object, name, type, space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  require(static_cast<bool>(attribute));
  require(H5Awrite(attribute.get(), type, value) >= 0);
  require(attribute.reset() >= 0);
}

void write_dataset(hid_t file, const std::string& name, ElementType type, const void* data, std::size_t bytes,
                   const std::vector<std::int64_t>& shape, bool compress) {
  const Hdf5Handle space = data_space(shape);
  const Hdf5Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(links.get(), 1);
  const std::size_t size = element_size(type);
  const Hdf5Handle properties = dataset_properties(shape, size, bytes / size, compress);
  Hdf5Handle dataset(H5Dcreate2(file, name.c_str(), hdf5_type(type), space.get(), links.get(),
                                properties.get(), H5P_DEFAULT),
                     H5Dclose);
  require(static_cast<bool>(dataset));
  if (bytes > 0) {
    require(H5Dwrite(dataset.get(), hdf5_type(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
  }
  const std::uint64_t checksum = XXH3_64bits(data, bytes);
  write_attribute(dataset.get(), kChecksumAttribute, H5T_STD_U64LE, &checksum);
  require(dataset.reset() >= 0);
}

}  // namespace

Hdf5Writer::Hdf5Writer(const std::filesystem::path& path) : path_(path) {
  start_hdf5();
  check_target(path);
  temporary_ = path;
  temporary_.replace_filename(fmt::format(".{}.tmp-{}", path.filename().string(), ::getpid()));
  guard("", [&] {
    output_ = std::make_unique<Hdf5Output>(temporary_);
    const Hdf5Handle access = file_access();
    output_->use_in(access.get());
    const Hdf5Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
    H5Pset_obj_track_times(creation.get(), false);
    file_ = H5Fcreate(temporary_.c_str(), H5F_ACC_TRUNC, creation.get(), access.get());
    require(file_ >= 0);
  });
}

Hdf5Writer::~Hdf5Writer() {
  abandon();
}

void Hdf5Writer::abandon() noexcept {
  if (file_ >= 0) H5Fclose(std::exchange(file_, -1));
  if (output_ == nullptr) return;
  output_.reset();
  ::unlink(temporary_.c_str());
}

void Hdf5Writer::guard(const std::string& what, const std::function<void()>& action) {
  std::string reason;
  try {
    action();
  } catch (const std::exception& error) {
    reason = error.what();
  }
  if (output_ != nullptr && output_->error() != 0) reason = std::strerror(output_->error());
  if (reason.empty()) return;
  abandon();
  fail("{}: cannot write{}: {}", path_.string(), what, reason);
}

void Hdf5Writer::check_open() const {
  if (file_ < 0) fail("{}: cannot write: the file was committed or given up", path_.string());
}

template <class T>
void Hdf5Writer::write(const std::string& name, std::span<const T> data,
                       const std::vector<std::int64_t>& shape, bool compress) {
  check_open();
  std::int64_t elements = 1;
  for (const std::int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(elements, extent, &elements)) elements = -1;
    if (elements < 0) break;
  }
  if (elements != static_cast<std::int64_t>(data.size())) {
    fail("{}: data set {}: {} values for shape {}", path_.string(), name, data.size(), shape_text(shape));
  }
  guard(" data set " + name, [&] {
    write_dataset(file_, name, Hdf5Element<T>::type, data.data(), data.size_bytes(), shape, compress);
  });
}

void Hdf5Writer::write_string(const std::string& name, std::string_view bytes, bool compress) {
  const std::span<const std::uint8_t> data(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  write(name, data, {static_cast<std::int64_t>(bytes.size())}, compress);
}

void Hdf5Writer::attribute_int(const std::string& name, std::int64_t value) {
  check_open();
  guard(" attribute " + name, [&] { write_attribute(file_, name.c_str(), H5T_STD_I64LE, &value); });
}

void Hdf5Writer::attribute_string(const std::string& name, const std::string& value) {
  check_open();
  guard(" attribute " + name, [&] {
    const Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.get(), std::max<std::size_t>(1, value.size()));
    H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
    H5Tset_cset(type.get(), H5T_CSET_UTF8);
    write_attribute(file_, name.c_str(), type.get(), value.c_str());
    if (value.size() <= kMaxHeaderAttribute) return;
    const std::uint64_t checksum = XXH3_64bits(value.data(), value.size());
    write_attribute(file_, fmt::format("{}.{}", name, kChecksumAttribute).c_str(), H5T_STD_U64LE, &checksum);
  });
}

void Hdf5Writer::commit() {
  check_open();
  guard("", [&] {
    require(H5Fclose(std::exchange(file_, -1)) >= 0);
    output_->sync_and_close();
  });
  guard("", [&] {
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) throw Error(std::strerror(errno));
  });
  output_.reset();
  const int error = sync_folder(folder_of(path_));
  if (error != 0) fail("{}: cannot sync its folder: {}", path_.string(), std::strerror(error));
}

template void Hdf5Writer::write<float>(const std::string&, std::span<const float>,
                                       const std::vector<std::int64_t>&, bool);
template void Hdf5Writer::write<double>(const std::string&, std::span<const double>,
                                        const std::vector<std::int64_t>&, bool);
template void Hdf5Writer::write<std::int32_t>(const std::string&, std::span<const std::int32_t>,
                                              const std::vector<std::int64_t>&, bool);
template void Hdf5Writer::write<std::int64_t>(const std::string&, std::span<const std::int64_t>,
                                              const std::vector<std::int64_t>&, bool);
template void Hdf5Writer::write<std::uint8_t>(const std::string&, std::span<const std::uint8_t>,
                                              const std::vector<std::int64_t>&, bool);

}  // namespace toller
