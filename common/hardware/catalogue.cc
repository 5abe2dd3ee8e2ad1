#include "common/hardware/catalogue.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/config/reader.h"
#include "common/hardware/built_in.h"
#include "common/hardware/catalogue_fields.h"

namespace baton::hardware {
namespace {

// A catalogue of a thousand entries has a tenth of it; more is a wrong file.
constexpr std::size_t kFileBytesMax = 4U << 20;

absl::Status TooLarge(std::string_view name, std::uintmax_t size) {
  return Error(kInvalidArgument, "{}: {} bytes; a catalogue has at most {}", name, size, kFileBytesMax);
}

absl::StatusOr<Catalogue> Extended(Catalogue catalogue, const config::Document& document) {
  ReadCatalogue(document.Root(), catalogue);
  BATON_RETURN_IF_ERROR(document.Finish());
  return catalogue;
}

template <typename T>
absl::StatusOr<const T*> Find(const std::map<std::string, T, std::less<>>& entries, std::string_view what,
                              std::string_view name) {
  if (const auto found = entries.find(name); found != entries.end()) return &found->second;
  std::string names;
  for (const auto& [known, entry] : entries) names += (names.empty() ? "" : ", ") + known;
  return Error(kNotFound, "{} \"{}\" is not in the catalogue, which has {}", what, name, names);
}

Catalogue MakeBuiltIn() {
  Catalogue catalogue;
  for (const BuiltInFile& file : BuiltInFiles()) {
    const auto document = config::Document::FromText(file.text, std::string(file.name));
    BATON_CHECK(document.ok(), "{}", Message(document.status()));
    absl::StatusOr<Catalogue> next = Extended(std::move(catalogue), *document);
    BATON_CHECK(next.ok(), "{}", Message(next.status()));
    catalogue = *std::move(next);
  }
  return catalogue;
}

}  // namespace

const Catalogue& Catalogue::BuiltIn() {
  static const Catalogue catalogue = MakeBuiltIn();
  return catalogue;
}

absl::StatusOr<Catalogue> Catalogue::Load(const std::string& path, const Catalogue& base) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (!error && size > kFileBytesMax) return TooLarge(path, size);
  BATON_ASSIGN_OR_RETURN(const config::Document document, config::Document::Open(path));
  return Extended(base, document);
}

absl::StatusOr<Catalogue> Catalogue::FromText(std::string_view text, const std::string& name) {
  if (text.size() > kFileBytesMax) return TooLarge(name, text.size());
  BATON_ASSIGN_OR_RETURN(const config::Document document, config::Document::FromText(text, name));
  return Extended(BuiltIn(), document);
}

absl::StatusOr<const Device*> Catalogue::FindDevice(std::string_view name) const {
  return Find(devices_, "device", name);
}

absl::StatusOr<const Machine*> Catalogue::FindMachine(std::string_view name) const {
  return Find(machines_, "machine", name);
}

absl::StatusOr<const ModelShape*> Catalogue::FindModel(std::string_view name) const {
  return Find(models_, "model", name);
}

const TimeTable* Catalogue::FindTable(std::string_view model, std::string_view machine,
                                      int tensor_parallel) const {
  const auto found = std::find_if(tables_.begin(), tables_.end(), [&](const TimeTable& table) {
    return table.model == model && table.machine == machine && table.tensor_parallel == tensor_parallel;
  });
  return found == tables_.end() ? nullptr : &*found;
}

const Calibration* Catalogue::FindCalibration(std::string_view model, std::string_view device,
                                              int tensor_parallel) const {
  const auto found = std::find_if(calibrations_.begin(), calibrations_.end(), [&](const Calibration& entry) {
    return entry.model == model && entry.device == device && entry.tensor_parallel == tensor_parallel;
  });
  return found == calibrations_.end() ? nullptr : &*found;
}

void Catalogue::Put(TimeTable table) {
  std::erase_if(tables_, [&](const TimeTable& old) {
    return old.model == table.model && old.machine == table.machine &&
           old.tensor_parallel == table.tensor_parallel;
  });
  tables_.push_back(std::move(table));
}

void Catalogue::Put(Calibration calibration) {
  std::erase_if(calibrations_, [&](const Calibration& old) {
    return old.model == calibration.model && old.device == calibration.device &&
           old.tensor_parallel == calibration.tensor_parallel;
  });
  calibrations_.push_back(std::move(calibration));
}

}  // namespace baton::hardware
