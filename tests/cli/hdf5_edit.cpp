#include "cli/hdf5_edit.h"

#include <hdf5.h>

#include <fstream>

#include "error.h"
#include "io/hdf5_file.h"

namespace toller {
namespace {

template <class T, class Edits>
void copy_values(const Hdf5Reader& reader, Hdf5Writer& writer, const std::string& name, const Edits& edits) {
  std::vector<std::int64_t> shape = reader.info(name).shape;
  std::vector<T> values = reader.read<T>(name);
  if (const auto found = edits.find(name); found != edits.end()) found->second(values);
  if (shape.size() == 1) shape[0] = static_cast<std::int64_t>(values.size());
  writer.write<T>(name, std::span<const T>(values), shape);
}

bool is_group(const Hdf5Reader& reader, const std::string& name) {
  try {
    reader.list(name);
    return true;
  } catch (const Error&) {
    return false;
  }
}

void copy_group(const Hdf5Reader& reader, Hdf5Writer& writer, const std::string& group,
                const Hdf5Edit& edit) {
  for (const std::string& member : reader.list(group)) {
    const std::string name = fmt::format("{}/{}", group == "/" ? "" : group, member);
    if (edit.left_out.contains(name)) continue;
    if (is_group(reader, name)) {
      copy_group(reader, writer, name, edit);
      continue;
    }
    switch (reader.info(name).type) {
      case ElementType::kInt32:
        copy_values<std::int32_t>(reader, writer, name, edit.int32);
        break;
      case ElementType::kInt64:
        copy_values<std::int64_t>(reader, writer, name, edit.int64);
        break;
      case ElementType::kFloat32:
        copy_values<float>(reader, writer, name, edit.float32);
        break;
      case ElementType::kUint8:
        writer.write_string(name, reader.read_string(name));
        break;
      default:
        fail("{}: no plan for the type of {}", reader.path().string(), name);
    }
  }
}

void read_group(const Hdf5Reader& reader, const std::string& group) {
  for (const std::string& member : reader.list(group)) {
    const std::string name = fmt::format("{}/{}", group == "/" ? "" : group, member);
    if (is_group(reader, name)) {
      read_group(reader, name);
      continue;
    }
    switch (reader.info(name).type) {
      case ElementType::kInt32:
        reader.read<std::int32_t>(name);
        break;
      case ElementType::kInt64:
        reader.read<std::int64_t>(name);
        break;
      case ElementType::kFloat32:
        reader.read<float>(name);
        break;
      default:
        reader.read_string(name);
    }
  }
}

}  // namespace

bool is_whole(const std::filesystem::path& file) {
  try {
    read_group(Hdf5Reader(file), "/");
    return true;
  } catch (const Error&) {
    return false;
  }
}

void copy_hdf5(const std::filesystem::path& from, const std::filesystem::path& to, const Hdf5Edit& edit) {
  const Hdf5Reader reader(from);
  Hdf5Writer writer(to);
  copy_group(reader, writer, "/", edit);
  for (const char* name : {"format_version", "max_length", "vocabulary_size", "step"}) {
    if (!reader.has_attribute(name)) continue;
    const auto found = edit.attributes.find(name);
    writer.attribute_int(name, found == edit.attributes.end() ? reader.attribute_int(name) : found->second);
  }
  for (const char* name : {"kind", "config"}) {
    if (!reader.has_attribute(name)) continue;
    const std::string value = reader.attribute_string(name);
    writer.attribute_string(name, edit.config && std::string(name) == "config" ? edit.config(value) : value);
  }
  writer.commit();
}

void flip_bit(const std::filesystem::path& file, const std::string& data_set) {
  const hid_t id = H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t data = H5Dopen2(id, data_set.c_str(), H5P_DEFAULT);
  const haddr_t offset = H5Dget_offset(data);
  H5Dclose(data);
  H5Fclose(id);
  if (offset == HADDR_UNDEF) fail("{}: {} is not stored in one piece", file.string(), data_set);
  std::fstream bytes(file, std::ios::binary | std::ios::in | std::ios::out);
  bytes.seekg(static_cast<std::streamoff>(offset));
  const int byte = bytes.get();
  bytes.seekp(static_cast<std::streamoff>(offset));
  bytes.put(static_cast<char>(byte ^ 1));
  if (!bytes.flush()) fail("{}: cannot change a byte", file.string());
}

}  // namespace toller
