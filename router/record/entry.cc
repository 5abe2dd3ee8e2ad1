#include "router/record/entry.h"

#include <utility>

#include "common/base/error.h"
#include "common/json/value.h"
#include "router/record/fields.h"

namespace baton::router {
namespace {

using record::Describe;
using record::FieldReader;
using record::FieldWriter;
using What = decltype(cluster::ClusterEvent::what);

template <typename T>
std::string Line(FieldWriter writer, const T& value) {
  Describe(writer, value);
  return json::Serialize(json::Value(std::move(writer.object)));
}

template <typename T>
std::string DecisionLine(std::string_view name, const T& decision) {
  FieldWriter writer;
  writer.Text("decision", name);
  return Line(std::move(writer), decision);
}

/// Makes `what` the event called `name` and reads its fields.
template <std::size_t... kIndex>
bool ReadEvent(std::string_view name, FieldReader& io, What& what, std::index_sequence<kIndex...>) {
  return ((record::kEventNames[kIndex] == name && (Describe(io, what.emplace<kIndex>()), true)) || ...);
}

void ReadEventLine(FieldReader& io, cluster::ClusterEvent& out) {
  std::int64_t at = 0;
  io.Whole("at", at, record::kAnyWhole);
  out.at = TimePoint(Duration(at));
  std::string name;
  io.Text("event", name);
  if (!ReadEvent(name, io, out.what, std::make_index_sequence<std::variant_size_v<What>>()))
    io.Fail("event", fmt::format("'{}' is unknown", FieldReader::Shown(name)));
}

void ReadDecisionLine(FieldReader& io, Entry& out) {
  std::string name;
  io.Text("decision", name);
  if (name == "admit") {
    Describe(io, out.emplace<AdmitDecision>());
  } else if (name == "place") {
    Describe(io, out.emplace<PlaceDecision>());
  } else if (name == "ready") {
    Describe(io, out.emplace<ReadyDecision>());
  } else {
    io.Fail("decision", fmt::format("'{}' is unknown", FieldReader::Shown(name)));
  }
}

void ReadStartLine(FieldReader& io, Entry& out) {
  std::int64_t version = 0;
  io.Whole("recording", version);
  if (io.Error().empty() && version != kRecordingVersion)
    return io.Fail("recording",
                   fmt::format("version {} is not {}, which this program reads", version, kRecordingVersion));
  Describe(io, out.emplace<RecordingStart>());
}

template <typename T>
std::uint32_t DigestOf(const T& value) {
  record::FieldDigest digest;
  Describe(digest, value);
  return digest.Value();
}

}  // namespace

RecordedSize Own(const RequestSize& size) {
  // Stops the build where a request has something more to decide by: see fields.h.
  const auto& [model, prompt_tokens, tokens_max, sequence_tokens, held, numerics_class] = size;
  return {.prompt_tokens = prompt_tokens,
          .tokens_max = tokens_max,
          .sequence_tokens = sequence_tokens,
          .held = {held.begin(), held.end()},
          .numerics_class = std::string(numerics_class)};
}

RequestSize Lend(const RecordedSize& size, std::string_view model) {
  return {.model = model,
          .prompt_tokens = size.prompt_tokens,
          .tokens_max = size.tokens_max,
          .sequence_tokens = size.sequence_tokens,
          .held = size.held,
          .numerics_class = size.numerics_class};
}

std::string FormatEntry(const RecordingStart& entry) {
  FieldWriter writer;
  writer.Whole("recording", kRecordingVersion);
  return Line(std::move(writer), entry);
}

std::string FormatEntry(const cluster::ClusterEvent& entry) {
  FieldWriter writer;
  writer.Whole("at", entry.at.time_since_epoch().count());
  writer.Text("event", record::kEventNames[entry.what.index()]);
  std::visit([&](const auto& what) { Describe(writer, what); }, entry.what);
  return json::Serialize(json::Value(std::move(writer.object)));
}

std::string FormatEntry(const AdmitDecision& entry) {
  return DecisionLine("admit", entry);
}

std::string FormatEntry(const PlaceDecision& entry) {
  return DecisionLine("place", entry);
}

std::string FormatEntry(const ReadyDecision& entry) {
  return DecisionLine("ready", entry);
}

std::string FormatEntry(const RecordingEnd& entry) {
  return Line({}, entry);
}

absl::StatusOr<Entry> ParseEntry(std::string_view line) {
  BATON_ASSIGN_OR_RETURN(const json::Value value, json::Parse(line, {.bytes = kRecordingLineMax}));
  const json::Object* object = value.AsObject();
  if (object == nullptr) return Error(kInvalidArgument, "want an object, got {}", value.KindName());
  FieldReader io(*object);
  Entry out;
  if (value.Find("event") != nullptr) {
    ReadEventLine(io, out.emplace<cluster::ClusterEvent>());
  } else if (value.Find("decision") != nullptr) {
    ReadDecisionLine(io, out);
  } else if (value.Find("recording") != nullptr) {
    ReadStartLine(io, out);
  } else if (value.Find("end") != nullptr) {
    Describe(io, out.emplace<RecordingEnd>());
  } else {
    return Error(kInvalidArgument, "a line without 'event', 'decision', 'recording' or 'end'");
  }
  io.Finish();
  if (!io.Error().empty()) return Error(kInvalidArgument, "{}", io.Error());
  return out;
}

std::uint32_t Digest(const cluster::ClusterSnapshot& snapshot) {
  return DigestOf(snapshot);
}

std::uint32_t Digest(const std::vector<PairScore>& scores) {
  record::FieldDigest digest;
  digest.List("", scores);
  return digest.Value();
}

}  // namespace baton::router
