#include "checkpoint/checkpoint_tensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint_format.h"
#include "error.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

CheckpointPart part_from_json(const fs::path& manifest, const nlohmann::json& entry) {
  const std::string where = fmt::format("{}: attribute {}", manifest.string(), kPartsAttribute);
  if (!entry.is_object() || !entry.contains("file") || !entry["file"].is_string() ||
      !entry.contains("bytes") || !entry["bytes"].is_number_unsigned()) {
    fail("{}: expected objects {{\"file\": name, \"bytes\": number}}", where);
  }
  CheckpointPart part{entry["file"].get<std::string>(), entry["bytes"].get<std::int64_t>()};
  const bool is_plain = part.file.find('/') == std::string::npos && part.file.find('\0') == std::string::npos;
  if (part.file.empty() || part.file == "." || part.file == ".." || !is_plain) {
    fail("{}: '{}' is no name of a file in this folder", where, part.file.c_str());
  }
  return part;
}

}  // namespace

fs::path checkpoint_part_path(const fs::path& manifest, int rank, int ranks) {
  fs::path path = manifest;
  return path.replace_filename(fmt::format("{}.rank-{:05}-of-{:05}{}", manifest.stem().string(), rank, ranks,
                                           manifest.extension().string()));
}

std::vector<CheckpointPart> list_parts(const Hdf5Reader& manifest) {
  std::vector<CheckpointPart> parts;
  if (!manifest.has_attribute(kPartsAttribute)) return parts;
  const auto list = nlohmann::json::parse(manifest.attribute_string(kPartsAttribute), nullptr, false);
  if (!list.is_array() || list.empty()) {
    fail("{}: attribute {} is not a list in JSON", manifest.path().string(), kPartsAttribute);
  }
  for (const nlohmann::json& entry : list) parts.push_back(part_from_json(manifest.path(), entry));
  return parts;
}

CheckpointTensors::CheckpointTensors(Hdf5Reader main) {
  files_.push_back(std::move(main));
  bytes_ = static_cast<std::int64_t>(fs::file_size(this->main().path()));
  const bool may_have_parts = this->main().attribute_int("format_version") >= kShardedFormatVersion;
  if (may_have_parts) {
    for (const CheckpointPart& part : list_parts(this->main())) open_part(part);
  }
  for (std::size_t file = files_.size() > 1 ? 1 : 0; file < files_.size(); ++file) {
    for (const char* group : {"/parameters", "/optimizer/m", "/optimizer/v"}) add_pieces(file, group);
  }
  for (auto& [name, pieces] : pieces_) join_pieces(name, pieces);
}

void CheckpointTensors::open_part(const CheckpointPart& part) {
  const std::string manifest = main().path().string();
  const fs::path path = fs::path(main().path()).replace_filename(part.file);
  std::error_code error;
  const std::uintmax_t size = fs::file_size(path, error);
  if (error) {
    fail("{}: cannot be read: {}; it is a part of {}", path.string(), error.message(), manifest);
  }
  if (size != static_cast<std::uintmax_t>(part.bytes)) {
    fail("{}: has {} bytes, but {} says {}: it is damaged, or a part of another checkpoint", path.string(),
         size, manifest, part.bytes);
  }
  Hdf5Reader file(path);
  const std::string kind = file.attribute_string("kind");
  if (kind != kPartKind) fail("{}: is a {}, expected a {}", path.string(), kind, kPartKind);
  for (const char* attribute : {"format_version", "step", kIdAttribute}) {
    const std::int64_t found = file.attribute_int(attribute), expected = main().attribute_int(attribute);
    if (found == expected) continue;
    fail("{}: is a part of another checkpoint: {} is {}, that of {} is {}", path.string(), attribute, found,
         manifest, expected);
  }
  bytes_ += part.bytes;
  files_.push_back(std::move(file));
}

void CheckpointTensors::add_pieces(std::size_t index, const std::string& group) {
  const Hdf5Reader& file = files_[index];
  if (!file.has(group)) return;
  for (const std::string& member : file.list(group)) {
    const std::string name = group + "/" + member;
    const DatasetInfo info = file.info(name);
    if (info.shape.empty() || info.elements == 0) {
      fail("{}: data set {}: has no rows", file.path().string(), name);
    }
    const std::int64_t row = index == 0 ? 0 : file.dataset_attribute_int(name, kFirstRowAttribute);
    pieces_[name].push_back({index, row, 0, info});
  }
}

void CheckpointTensors::join_pieces(const std::string& name, std::vector<Piece>& pieces) const {
  std::ranges::sort(pieces, {}, &Piece::row);
  const DatasetInfo& front = pieces.front().info;
  std::int64_t rows = 0, elements = 0;
  for (Piece& piece : pieces) {
    const std::string path = files_[piece.file].path().string();
    const std::vector<std::int64_t>& shape = piece.info.shape;
    if (piece.row != rows) {
      fail("{}: data set {}: begins at row {}, the parts of {} before it end at {}", path, name, piece.row,
           main().path().string(), rows);
    }
    if (piece.info.type != front.type ||
        !std::equal(shape.begin() + 1, shape.end(), front.shape.begin() + 1, front.shape.end())) {
      fail("{}: data set {}: type or shape differ from those in {}", path, name,
           files_[pieces.front().file].path().string());
    }
    piece.first = elements;
    rows += shape.front();
    elements += piece.info.elements;
  }
}

const std::vector<CheckpointTensors::Piece>& CheckpointTensors::pieces_of(const std::string& name) const {
  const auto found = pieces_.find(name);
  if (found == pieces_.end()) fail("{}: data set {}: is missing", main().path().string(), name);
  return found->second;
}

bool CheckpointTensors::has(const std::string& name) const {
  return pieces_.contains(name) || !list(name).empty();
}

std::vector<std::string> CheckpointTensors::list(const std::string& group) const {
  std::vector<std::string> members;
  for (const auto& [name, pieces] : pieces_) {
    if (name.starts_with(group + "/")) members.push_back(name.substr(group.size() + 1));
  }
  return members;
}

DatasetInfo CheckpointTensors::info(const std::string& name) const {
  const std::vector<Piece>& pieces = pieces_of(name);
  DatasetInfo info = pieces.front().info;
  info.shape.front() = pieces.back().row + pieces.back().info.shape.front();
  info.elements = pieces.back().first + pieces.back().info.elements;
  return info;
}

template <class T>
void CheckpointTensors::read_into(const std::string& name, std::span<T> out) const {
  const DatasetInfo stored = info(name);
  if (stored.elements != static_cast<std::int64_t>(out.size())) {
    fail("{}: data set {}: expected {} elements, found shape [{}]", main().path().string(), name, out.size(),
         fmt::join(stored.shape, ", "));
  }
  for (const Piece& piece : pieces_of(name)) {
    files_[piece.file].read_into(name, out.subspan(static_cast<std::size_t>(piece.first),
                                                   static_cast<std::size_t>(piece.info.elements)));
  }
}

template <class T>
void CheckpointTensors::read_slice(const std::string& name, std::int64_t first, std::span<T> out) const {
  const auto count = static_cast<std::int64_t>(out.size());
  const std::int64_t elements = info(name).elements;
  if (first < 0 || count > elements || first > elements - count) {
    fail("{}: data set {}: no elements [{}, {} + {}) among {}", main().path().string(), name, first, first,
         count, elements);
  }
  for (const Piece& piece : pieces_of(name)) {
    const std::int64_t from = std::max(first, piece.first);
    const std::int64_t to = std::min(first + count, piece.first + piece.info.elements);
    if (from >= to) continue;
    files_[piece.file].read_slice(
        name, from - piece.first,
        out.subspan(static_cast<std::size_t>(from - first), static_cast<std::size_t>(to - from)));
  }
}

template <class T>
void CheckpointTensors::read_in_pieces(
    const std::string& name, const std::function<void(std::span<const T>, std::int64_t)>& take) const {
  for (const Piece& piece : pieces_of(name)) {
    files_[piece.file].read_in_pieces<T>(
        name, [&](std::span<const T> values, std::int64_t first) { take(values, piece.first + first); });
  }
}

#define TOLLER_INSTANTIATE(T)                                                                           \
  template void CheckpointTensors::read_into<T>(const std::string&, std::span<T>) const;                \
  template void CheckpointTensors::read_slice<T>(const std::string&, std::int64_t, std::span<T>) const; \
  template void CheckpointTensors::read_in_pieces<T>(                                                   \
      const std::string&, const std::function<void(std::span<const T>, std::int64_t)>&) const;
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
