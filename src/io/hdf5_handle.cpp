#include "io/hdf5_handle.h"

#include <fmt/ranges.h>

#include <array>

namespace toller {
namespace {

struct ElementEntry {
  ElementType type;
  const char* name;
  std::size_t size;
};

constexpr std::array<ElementEntry, 6> kElements = {{{ElementType::kFloat32, "float32", 4},
                                                    {ElementType::kFloat64, "float64", 8},
                                                    {ElementType::kInt32, "int32", 4},
                                                    {ElementType::kInt64, "int64", 8},
                                                    {ElementType::kUint8, "uint8", 1},
                                                    {ElementType::kOther, "another type", 0}}};

const ElementEntry& entry(ElementType type) {
  return kElements[static_cast<std::size_t>(type)];
}

struct Reason {
  std::string innermost;
  std::string system;
};

herr_t collect_reason(unsigned, const H5E_error2_t* error, void* data) {
  auto& reason = *static_cast<Reason*>(data);
  const std::string text = error->desc == nullptr ? "" : error->desc;
  if (reason.innermost.empty()) reason.innermost = text;
  const std::string mark = "error message = '";
  const auto begin = text.find(mark);
  if (begin == std::string::npos || !reason.system.empty()) return 0;
  const auto end = text.find('\'', begin + mark.size());
  if (end != std::string::npos) {
    reason.system = text.substr(begin + mark.size(), end - begin - mark.size());
  }
  return 0;
}

}  // namespace

void start_hdf5() {
  [[maybe_unused]] static const bool started = [] {
    H5dont_atexit();
    H5open();
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    H5PLset_loading_state(0);
    return true;
  }();
}

std::string hdf5_reason() {
  Reason reason;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, collect_reason, &reason);
  if (!reason.system.empty()) return reason.system;
  return reason.innermost.empty() ? "HDF5 gives no reason" : reason.innermost;
}

hid_t hdf5_type(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return H5T_IEEE_F32LE;
    case ElementType::kFloat64:
      return H5T_IEEE_F64LE;
    case ElementType::kInt32:
      return H5T_STD_I32LE;
    case ElementType::kInt64:
      return H5T_STD_I64LE;
    case ElementType::kUint8:
      return H5T_STD_U8LE;
    case ElementType::kOther:
      break;
  }
  return H5I_INVALID_HID;
}

ElementType element_type(hid_t type) {
  for (const ElementEntry& element : kElements) {
    if (element.type != ElementType::kOther && H5Tequal(type, hdf5_type(element.type)) > 0) {
      return element.type;
    }
  }
  return ElementType::kOther;
}

std::size_t element_size(ElementType type) {
  return entry(type).size;
}

const char* element_name(ElementType type) {
  return entry(type).name;
}

std::int64_t row_elements(const std::vector<std::int64_t>& shape) {
  std::int64_t elements = 1;
  for (std::size_t axis = 1; axis < shape.size(); ++axis) elements *= shape[axis];
  return elements;
}

herr_t select_rows(hid_t space, const std::vector<std::int64_t>& shape, std::int64_t first,
                   std::int64_t count) {
  if (shape.empty()) return H5Sselect_all(space);
  std::vector<hsize_t> start(shape.size(), 0), size(shape.begin(), shape.end());
  const std::int64_t row = row_elements(shape);
  start.front() = static_cast<hsize_t>(first / row);
  size.front() = static_cast<hsize_t>(count / row);
  return H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr);
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Hdf5Handle file_access() {
  Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);
  H5Pset_file_locking(access.get(), false, true);
  H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_LATEST);
  return access;
}

}  // namespace toller
