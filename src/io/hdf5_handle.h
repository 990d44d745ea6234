// What reader and writer share of the HDF5 C API: owned identifiers, the reason of a failure, element types.
#pragma once

#include <hdf5.h>

#include <bit>
#include <cstdint>
#include <string>
#include <utility>

#include "io/hdf5_file.h"

namespace toller {

static_assert(std::endian::native == std::endian::little, "files are little-endian and are read in place");

/// One checksum, or an array of several, each of the rows between two of the bounds in the other attribute.
inline constexpr const char* kChecksumAttribute = "xxh3_64";
inline constexpr const char* kChecksumRowsAttribute = "xxh3_64_rows";

/// HDF5 keeps larger attributes outside the object header, where nothing checks them. They get a checksum of
/// their own: attribute "<name>.xxh3_64".
inline constexpr std::size_t kMaxHeaderAttribute = 60000;

/// Starts the library once: no error printing, no filter plug-ins, no clean-up at exit (every identifier here
/// has an owner, and a clean-up of a file on a full disk could only fail again).
void start_hdf5();

/// Why the last HDF5 call failed: the system's error message if there is one, else the innermost
/// description. Call it before any other HDF5 function.
std::string hdf5_reason();

/// An identifier and the function that closes it.
class Hdf5Handle {
 public:
  Hdf5Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Hdf5Handle() { reset(); }
  Hdf5Handle(Hdf5Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Hdf5Handle(const Hdf5Handle&) = delete;
  Hdf5Handle& operator=(const Hdf5Handle&) = delete;
  Hdf5Handle& operator=(Hdf5Handle&&) = delete;

  explicit operator bool() const { return id_ >= 0; }
  hid_t get() const { return id_; }
  /// Closes now; negative if that failed.
  herr_t reset() { return id_ >= 0 ? close_(std::exchange(id_, -1)) : 0; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

template <class T>
struct Hdf5Element;
template <>
struct Hdf5Element<float> {
  static constexpr ElementType type = ElementType::kFloat32;
};
template <>
struct Hdf5Element<double> {
  static constexpr ElementType type = ElementType::kFloat64;
};
template <>
struct Hdf5Element<std::int32_t> {
  static constexpr ElementType type = ElementType::kInt32;
};
template <>
struct Hdf5Element<std::int64_t> {
  static constexpr ElementType type = ElementType::kInt64;
};
template <>
struct Hdf5Element<std::uint8_t> {
  static constexpr ElementType type = ElementType::kUint8;
};

/// The stored type; not for kOther.
hid_t hdf5_type(ElementType type);
ElementType element_type(hid_t type);
std::size_t element_size(ElementType type);
/// Elements of one index of the first dimension: the product of the others.
std::int64_t row_elements(const std::vector<std::int64_t>& shape);
/// Selects elements [first, first + count) of a data space of that shape, which must be whole rows; negative
/// if that failed.
herr_t select_rows(hid_t space, const std::vector<std::int64_t>& shape, std::int64_t first,
                   std::int64_t count);
/// "[2, 3]"
std::string shape_text(const std::vector<std::int64_t>& shape);

/// Access properties for both sides: no file locks, which parallel file systems often lack;
/// objects left open are closed with the file; format of HDF5 1.10, the first whose metadata all have
/// checksums.
Hdf5Handle file_access();

}  // namespace toller
