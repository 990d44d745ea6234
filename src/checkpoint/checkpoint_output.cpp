#include "checkpoint/checkpoint_output.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <system_error>

#include "checkpoint/checkpoint_format.h"
#include "choice.h"
#include "comm/exchange.h"
#include "error.h"
#include "io/checksum.h"
#include "io/raw_file.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

/// Small enough to be in the processor's cache still when it is written, after its checksum was taken.
constexpr std::size_t kBlockBytes = std::size_t{4} << 20;

constexpr std::array<std::pair<CheckpointLayout, const char*>, 2> kLayouts = {
    {{CheckpointLayout::kOneFile, "one"}, {CheckpointLayout::kFilePerRank, "per-rank"}}};

/// What the action threw, or "".
template <class Action>
std::string error_of(const Action& action) {
  try {
    action();
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

std::string reason(int error) {
  return std::generic_category().message(error);
}

/// Collective: throws Error on all ranks if one of them has an error; the first one's.
void agree(Communicator& communicator, std::string error) {
  const int ranks = communicator.size();
  std::int64_t failed = error.empty() ? 0 : ranks - communicator.rank();
  communicator.all_reduce_max(std::span(&failed, 1));
  if (failed == 0) return;
  broadcast_text(error, ranks - static_cast<int>(failed), communicator);
  throw Error(error);
}

std::int64_t row_size(const TensorView& tensor) {
  return tensor.size / tensor.shape.front();
}

std::string dataset_name(const TensorView& tensor, int kind) {
  return kind == 0 ? parameter_name(tensor) : moment_name(kind == 1 ? "m" : "v", tensor);
}

template <class T>
constexpr ElementType kType = std::is_same_v<T, double> ? ElementType::kFloat64 : ElementType::kFloat32;

/// Of every tensor: the bounds, in rows, of the ranks' pieces.
std::vector<std::vector<std::int64_t>> row_bounds(const ParameterTable& table,
                                                  const ParameterShards& shards) {
  std::vector<std::vector<std::int64_t>> bounds(table.tensors().size(), {0});
  for (int rank = 0; rank < shards.ranks(); ++rank) {
    for (const TensorPiece& piece : shards.tensor_pieces(rank)) {
      bounds[piece.tensor].push_back((piece.first + piece.size) / row_size(table.tensors()[piece.tensor]));
    }
  }
  return bounds;
}

}  // namespace

CheckpointLayout checkpoint_layout_from_name(const std::string& what, const std::string& name) {
  return value_of_word(what, name, kLayouts);
}

template <class T>
CheckpointOutput<T>::CheckpointOutput(const fs::path& path, const CheckpointMeta& meta,
                                      const ParameterTable& table, const ParameterShards& shards,
                                      CheckpointLayout layout, Communicator& communicator, bool with_moments)
    : path_(path),
      table_(table),
      shards_(shards),
      communicator_(communicator),
      kinds_(with_moments ? 3 : 1),
      step_(meta.step),
      target_(path) {
  const bool is_one = layout == CheckpointLayout::kOneFile;
  std::vector<std::int64_t> places;
  agree(communicator_, error_of([&] {
          if (communicator_.rank() == 0) places = make_main_file(meta, is_one);
          if (!is_one) make_part();
        }));
  std::string name = main_ ? main_->temporary().filename().string() : "";
  broadcast_text(name, 0, communicator_);
  agree(communicator_, error_of([&] { open_share(name); }));
  if (!is_one) return;
  places.resize(table_.tensors().size() * static_cast<std::size_t>(kinds_));
  broadcast_values(std::span(places), 0, communicator_);
  add_regions(places);
}

template <class T>
CheckpointOutput<T>::~CheckpointOutput() {
  std::error_code error;
  if (is_part_published_ && !is_committed_ && !fs::exists(path_, error)) fs::remove(target_, error);
}

template <class T>
std::vector<std::int64_t> CheckpointOutput<T>::make_main_file(const CheckpointMeta& meta, bool is_one) {
  const std::vector<std::vector<std::int64_t>> bounds = row_bounds(table_, shards_);
  const bool has_arrays = std::ranges::any_of(bounds, [](const auto& rows) { return rows.size() > 2; });
  main_ = std::make_unique<Hdf5Writer>(path_);
  write_meta(*main_, meta, is_one && !has_arrays ? kCheckpointFormatVersion : kShardedFormatVersion);
  std::vector<std::int64_t> places;
  for (std::size_t index = 0; is_one && index < bounds.size(); ++index) {
    const TensorView& tensor = table_.tensors()[index];
    for (int kind = 0; kind < kinds_; ++kind) {
      places.push_back(main_->reserve(dataset_name(tensor, kind), kType<T>, tensor.shape, bounds[index]));
    }
  }
  return places;
}

template <class T>
void CheckpointOutput<T>::add_regions(const std::vector<std::int64_t>& places) {
  for (const TensorPiece& piece : shards_.tensor_pieces(communicator_.rank())) {
    for (int kind = 0; kind < kinds_; ++kind) {
      const auto index = piece.tensor * static_cast<std::size_t>(kinds_) + static_cast<std::size_t>(kind);
      regions_.push_back({.dataset = dataset_name(table_.tensors()[piece.tensor], kind),
                          .kind = kind,
                          .piece = piece,
                          .place = places[index] + piece.first * static_cast<std::int64_t>(sizeof(T))});
    }
  }
}

template <class T>
void CheckpointOutput<T>::make_part() {
  target_ = checkpoint_part_path(path_, communicator_.rank(), communicator_.size());
  part_ = std::make_unique<Hdf5Writer>(target_);
  part_->attribute_int("format_version", kShardedFormatVersion);
  part_->attribute_string("kind", kPartKind);
  part_->attribute_int("step", step_);
  for (const TensorPiece& piece : shards_.tensor_pieces(communicator_.rank())) {
    const TensorView& tensor = table_.tensors()[piece.tensor];
    std::vector<std::int64_t> shape = tensor.shape;
    shape.front() = piece.size / row_size(tensor);
    for (int kind = 0; kind < kinds_; ++kind) {
      const std::string name = dataset_name(tensor, kind);
      const std::int64_t place = part_->reserve(name, kType<T>, shape);
      part_->dataset_attribute_int(name, kFirstRowAttribute, piece.first / row_size(tensor));
      regions_.push_back({.dataset = name, .kind = kind, .piece = piece, .place = place});
    }
  }
}

template <class T>
void CheckpointOutput<T>::open_share(const std::string& main_name) {
  fs::path main_file = path_;
  main_file.replace_filename(main_name);
  try {
    raw_ = std::make_unique<RawFile>(main_file, O_RDWR);
  } catch (const Error& error) {
    fail("{}: rank {} cannot open it: {}; --out must be on a file system that all ranks share",
         main_file.string(), communicator_.rank(), error.what());
  }
  if (part_) raw_ = std::make_unique<RawFile>(part_->temporary(), O_RDWR);
}

template <class T>
template <class Action>
void CheckpointOutput<T>::note_failure(const Action& action) {
  try {
    action();
  } catch (const std::exception& error) {
    failure_ = error.what();
    throw;
  }
}

template <class T>
void CheckpointOutput<T>::write(std::span<const T> parameters, std::span<const T> m, std::span<const T> v) {
  note_failure([&] {
    const auto size = static_cast<std::size_t>(shards_.elements(communicator_.rank()));
    const std::array shares = {parameters, m, v};
    for (std::size_t kind = 0; kind < static_cast<std::size_t>(kinds_); ++kind) {
      if (shares[kind].size() == size) continue;
      fail("{}: cannot write: a share of {} values, expected {}", target_.string(), shares[kind].size(),
           size);
    }
    for (Region& region : regions_) {
      write_region(region, shares[static_cast<std::size_t>(region.kind)].subspan(
                               static_cast<std::size_t>(region.piece.place),
                               static_cast<std::size_t>(region.piece.size)));
    }
    const int error = raw_->sync();
    if (error != 0) fail("{}: cannot write: {}", target_.string(), reason(error));
    is_written_ = true;
  });
}

template <class T>
void CheckpointOutput<T>::write_region(Region& region, std::span<const T> values) {
  constexpr std::size_t kBlock = kBlockBytes / sizeof(T);
  Checksum checksum;
  for (std::size_t at = 0; at < values.size(); at += kBlock) {
    const std::span block = values.subspan(at, std::min(kBlock, values.size() - at));
    check_finite(target_, region.dataset, block, region.piece.first + static_cast<std::int64_t>(at));
    const std::span bytes = std::as_bytes(block);
    checksum.update(bytes);
    const int error = raw_->write(bytes, static_cast<std::uint64_t>(region.place) + at * sizeof(T));
    if (error != 0) {
      fail("{}: cannot write data set {}: {}", target_.string(), region.dataset, reason(error));
    }
  }
  region.checksum = checksum.value();
}

template <class T>
void CheckpointOutput<T>::verify() {
  note_failure([&] {
    if (!is_written_) fail("{}: verify() without write()", target_.string());
    raw_->drop_cache();
    std::vector<std::byte> buffer(kBlockBytes);
    for (const Region& region : regions_) verify_region(region, buffer);
  });
}

template <class T>
void CheckpointOutput<T>::verify_region(const Region& region, std::span<std::byte> buffer) {
  const std::size_t bytes = static_cast<std::size_t>(region.piece.size) * sizeof(T);
  Checksum checksum;
  for (std::size_t at = 0; at < bytes; at += buffer.size()) {
    const std::span block = buffer.first(std::min(buffer.size(), bytes - at));
    const int error = raw_->read(block, static_cast<std::uint64_t>(region.place) + at);
    if (error != 0) fail("{}: cannot read data set {}: {}", target_.string(), region.dataset, reason(error));
    checksum.update(block);
  }
  if (checksum.value() == region.checksum) return;
  const std::int64_t row = row_size(table_.tensors()[region.piece.tensor]);
  fail("{}: data set {}: rows [{}, {}) on disk are not what was written", target_.string(), region.dataset,
       region.piece.first / row, (region.piece.first + region.piece.size) / row);
}

template <class T>
void CheckpointOutput<T>::commit() {
  if (failure_.empty() && !is_written_) failure_ = target_.string() + ": commit() without write()";
  agree(communicator_, failure_);
  const std::vector<std::uint64_t> checksums = gather_checksums();
  const std::int64_t id = checkpoint_id(checksums);
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(communicator_.size()), 0);
  if (part_) {
    agree(communicator_,
          error_of([&] { sizes[static_cast<std::size_t>(communicator_.rank())] = commit_part(id); }));
    communicator_.all_reduce_max(sizes);
  }
  agree(communicator_, error_of([&] {
          if (!main_) return;
          part_ ? list_parts_in_manifest(sizes, id) : set_checksums(checksums);
          main_->commit();
        }));
  is_committed_ = true;
}

template <class T>
std::vector<std::uint64_t> CheckpointOutput<T>::gather_checksums() {
  std::vector<std::int64_t> counts;
  for (int rank = 0; rank < communicator_.size(); ++rank) {
    counts.push_back(static_cast<std::int64_t>(shards_.tensor_pieces(rank).size()) * kinds_);
  }
  std::vector<std::uint64_t> own;
  for (const Region& region : regions_) own.push_back(region.checksum);
  return gather_words(own, counts, communicator_);
}

template <class T>
std::int64_t CheckpointOutput<T>::checkpoint_id(const std::vector<std::uint64_t>& checksums) const {
  Checksum id;
  id.update(std::as_bytes(std::span(&step_, 1)));
  id.update(std::as_bytes(std::span(checksums)));
  return static_cast<std::int64_t>(id.value());
}

template <class T>
std::int64_t CheckpointOutput<T>::commit_part(std::int64_t id) {
  for (const Region& region : regions_) part_->set_checksums(region.dataset, {region.checksum});
  part_->attribute_int(kIdAttribute, id);
  part_->commit();
  is_part_published_ = true;
  return static_cast<std::int64_t>(fs::file_size(target_));
}

template <class T>
void CheckpointOutput<T>::list_parts_in_manifest(const std::vector<std::int64_t>& sizes, std::int64_t id) {
  auto parts = nlohmann::json::array();
  for (int rank = 0; rank < communicator_.size(); ++rank) {
    const fs::path part = checkpoint_part_path(path_, rank, communicator_.size());
    const std::int64_t bytes = sizes[static_cast<std::size_t>(rank)];
    std::error_code error;
    if (fs::file_size(part, error) != static_cast<std::uintmax_t>(bytes)) {
      fail("{}: rank {} wrote it, rank 0 cannot see it; --out must be on a file system that all ranks share",
           part.string(), rank);
    }
    parts.push_back({{"file", part.filename().string()}, {"bytes", bytes}});
  }
  main_->attribute_string(kPartsAttribute, parts.dump());
  main_->attribute_int(kIdAttribute, id);
}

template <class T>
void CheckpointOutput<T>::set_checksums(const std::vector<std::uint64_t>& checksums) {
  std::map<std::string, std::vector<std::uint64_t>> of_dataset;
  auto next = checksums.begin();
  for (int rank = 0; rank < shards_.ranks(); ++rank) {
    for (const TensorPiece& piece : shards_.tensor_pieces(rank)) {
      for (int kind = 0; kind < kinds_; ++kind) {
        of_dataset[dataset_name(table_.tensors()[piece.tensor], kind)].push_back(*next++);
      }
    }
  }
  for (const auto& [dataset, sums] : of_dataset) main_->set_checksums(dataset, sums);
}

template class CheckpointOutput<float>;
template class CheckpointOutput<double>;

}  // namespace toller
