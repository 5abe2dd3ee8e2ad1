#include "simulator/trace/trace_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <vector>

#include "common/base/error.h"
#include "common/json/value.h"

namespace baton::simulator {
namespace {

constexpr std::array<std::string_view, 4> kFormatNames{"reference", "azure", "csv", "jsonl"};
constexpr std::string_view kReferenceHeader =
    "request_id,request_type,application_id,arrival_timestamp,batch_size,prompt_size,token_size";
constexpr std::string_view kAzureHeader = "TIMESTAMP,ContextTokens,GeneratedTokens";
// A century: a timestamp in milliseconds or since 1970 in nanoseconds is a mistake that is better named here.
constexpr double kArrivalMax = 3.2e9;
constexpr std::size_t kColumnsMax = 64;
constexpr std::size_t kJsonLineMax = 64 << 10;

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r'))
    text.remove_suffix(1);
  return text;
}

/// What a message may quote of a file: short and printable.
std::string Quoted(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 40)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return text.size() > 40 ? out + "..." : out;
}

/// Lines of a text, counted from 1, without their ends.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {
    if (rest_.substr(0, 3) == "\xef\xbb\xbf") rest_.remove_prefix(3);
  }
  /// The next line that is not blank; nothing at the end.
  std::optional<std::string_view> Next() {
    while (!rest_.empty()) {
      const std::size_t end = std::min(rest_.find('\n'), rest_.size());
      const std::string_view line = Trim(rest_.substr(0, end));
      rest_.remove_prefix(std::min(end + 1, rest_.size()));
      ++number_;
      if (!line.empty()) return line;
    }
    return std::nullopt;
  }
  [[nodiscard]] std::int64_t Number() const { return number_; }

 private:
  std::string_view rest_;
  std::int64_t number_ = 0;
};

/// What a file is that begins so and is no text; empty where it may be.
std::string_view WhatElse(std::string_view text) {
  if (text.starts_with("\x1f\x8b")) return "gzip; unpack it: gunzip";
  if (text.starts_with("\x28\xb5\x2f\xfd")) return "zstd; unpack it: unzstd";
  if (text.starts_with("PK\x03\x04")) return "zip; unpack it (a spreadsheet: save it as CSV)";
  if (text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) return "UTF-16; save it as UTF-8";
  return "";
}

std::string_view Unquoted(std::string_view cell) {
  const bool quoted = cell.size() >= 2 && cell.front() == '"' && cell.back() == '"';
  return quoted ? cell.substr(1, cell.size() - 2) : cell;
}

/// Cells of a line. A comma ends one, between quotes too: every known column is a number or a time.
void Split(std::string_view line, std::vector<std::string_view>& cells) {
  cells.clear();
  while (cells.size() <= kColumnsMax) {
    const std::size_t comma = line.find(',');
    cells.push_back(Unquoted(Trim(line.substr(0, comma))));
    if (comma == std::string_view::npos) return;
    line.remove_prefix(comma + 1);
  }
}

std::optional<double> AsNumber(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

/// "2023-11-16 18:17:03.9799600" as seconds since 1970; with a T, a zone of Z, or no fraction as well.
std::optional<double> AsTimestamp(std::string_view text) {
  if (!text.empty() && text.back() == 'Z') text.remove_suffix(1);
  const std::size_t zone = text.size() > 19 ? text.find_first_of("+-", 19) : std::string_view::npos;
  if (zone != std::string_view::npos) {
    if (text.substr(zone) != "+00:00" && text.substr(zone) != "+00") return std::nullopt;
    text = text.substr(0, zone);
  }
  if (text.size() < 19 || text[4] != '-' || text[7] != '-' || (text[10] != ' ' && text[10] != 'T') ||
      text[13] != ':' || text[16] != ':') {
    return std::nullopt;
  }
  const auto whole = [&](std::size_t at, std::size_t length) -> int {
    int value = 0;
    const char* begin = text.data() + at;
    const auto [end, error] = std::from_chars(begin, begin + length, value);
    return error == std::errc() && end == begin + length ? value : -1;
  };
  using namespace std::chrono;
  const int y = whole(0, 4);
  const int month_number = whole(5, 2);
  const int day_number = whole(8, 2);
  const int h = whole(11, 2);
  const int m = whole(14, 2);
  const int s = whole(17, 2);
  if (y < 1970 || month_number < 1 || day_number < 1 || h < 0 || h > 23 || m < 0 || m > 59 || s < 0 ||
      s > 60) {
    return std::nullopt;
  }
  const year_month_day date{year{y}, month{static_cast<unsigned>(month_number)},
                            day{static_cast<unsigned>(day_number)}};
  if (!date.ok()) return std::nullopt;
  double fraction = 0;
  if (text.size() > 19) {
    const auto value = AsNumber(std::string("0").append(text.substr(19)));
    if (text[19] != '.' || !value) return std::nullopt;
    fraction = *value;
  }
  const double days = static_cast<double>(sys_days{date}.time_since_epoch().count());
  return days * 86400 + h * 3600 + m * 60 + s + fraction;
}

struct Field {
  std::string_view name;
  std::size_t column = 0;
  bool present = false;
};

/// One request's fields, whatever the format calls them.
struct Columns {
  Field id;
  Field arrival;
  Field prompt;
  Field output;
  Field prefix;
  Field prefix_tokens;
  bool timestamps = false;
};

struct Header {
  TraceFormat format;
  Columns columns;
  std::size_t count = 0;
};

absl::StatusOr<Header> ReadHeader(std::string_view line, const std::string& name, std::int64_t number) {
  std::vector<std::string_view> cells;
  Split(line, cells);
  const auto find = [&](std::string_view column) {
    const auto at = std::find(cells.begin(), cells.end(), column);
    return Field{column, static_cast<std::size_t>(at - cells.begin()), at != cells.end()};
  };
  Header header{.format = TraceFormat::kCsv, .columns = {}, .count = cells.size()};
  Columns& columns = header.columns;
  if (columns.arrival = find("TIMESTAMP"); columns.arrival.present) {
    header.format = TraceFormat::kAzure;
    columns.prompt = find("ContextTokens");
    columns.output = find("GeneratedTokens");
    columns.timestamps = true;
  } else if (columns.arrival = find("arrival_timestamp"); columns.arrival.present) {
    header.format = TraceFormat::kReference;
    columns.id = find("request_id");
    columns.prompt = find("prompt_size");
    columns.output = find("token_size");
  } else if (columns.arrival = find("arrival_s"); columns.arrival.present) {
    columns.id = find("id");
    columns.prompt = find("prompt_tokens");
    columns.output = find("output_tokens");
    columns.prefix = find("prefix_id");
    columns.prefix_tokens = find("prefix_tokens");
  } else {
    return Error(kInvalidArgument,
                 "{}:{}: no known header in '{}': want {}, {}, or arrival_s,prompt_tokens,output_tokens",
                 name, number, Quoted(line), kAzureHeader, kReferenceHeader);
  }
  for (const Field& field : {columns.prompt, columns.output}) {
    if (!field.present)
      return Error(kInvalidArgument, "{}:{}: column {} is missing", name, number, field.name);
  }
  if (cells.size() > kColumnsMax) {
    return Error(kInvalidArgument, "{}:{}: more than {} columns", name, number, kColumnsMax);
  }
  return header;
}

/// Turns numbers into fields of a request; knows where they come from.
class RowReader {
 public:
  RowReader(const std::string& name, const TraceLimits& limits) : name_(name), limits_(limits) {}

  void At(std::int64_t line) { line_ = line; }

  absl::Status Arrival(std::string_view field, std::optional<double> value, std::string_view text,
                       double& out) const {
    if (!value || *value < 0 || *value > kArrivalMax) {
      const std::string wanted = field == "TIMESTAMP"
                                     ? std::string("no time such as 2023-11-16 18:15:46.68")
                                     : fmt::format("no time in seconds between 0 and {:.0f}", kArrivalMax);
      return Error(kInvalidArgument, "{}:{}: {}: '{}' is {}", name_, line_, field, Quoted(text), wanted);
    }
    out = *value;
    return absl::OkStatus();
  }

  absl::Status Whole(std::string_view field, std::optional<double> value, std::string_view text,
                     std::int64_t low, std::int64_t high, std::int64_t& out) const {
    if (!value || *value != std::floor(*value) || *value < static_cast<double>(low) ||
        *value > static_cast<double>(high)) {
      return Error(kInvalidArgument, "{}:{}: {}: '{}' is no whole number from {} to {}", name_, line_, field,
                   Quoted(text), low, high);
    }
    out = static_cast<std::int64_t>(*value);
    return absl::OkStatus();
  }

  absl::Status Check(const WorkloadRequest& request) const {
    if (request.prefix_tokens > request.prompt_tokens) {
      return Error(kInvalidArgument, "{}:{}: prefix_tokens: {} is more than the prompt's {}", name_, line_,
                   request.prefix_tokens, request.prompt_tokens);
    }
    return absl::OkStatus();
  }

  [[nodiscard]] std::int64_t TokensMax() const { return limits_.tokens; }
  [[nodiscard]] const std::string& Name() const { return name_; }
  [[nodiscard]] std::int64_t Line() const { return line_; }

 private:
  const std::string& name_;
  const TraceLimits& limits_;
  std::int64_t line_ = 0;
};

constexpr std::int64_t kIdMax = std::int64_t{1} << 53;  // what a double holds

absl::Status ReadRow(const std::vector<std::string_view>& cells, const Header& header,
                     const RowReader& reader, WorkloadRequest& request) {
  if (cells.size() != header.count) {
    return Error(kInvalidArgument, "{}:{}: {} fields, the header has {}", reader.Name(), reader.Line(),
                 cells.size(), header.count);
  }
  const Columns& columns = header.columns;
  const auto text = [&](const Field& field) { return cells[field.column]; };
  const auto whole = [&](const Field& field, std::int64_t low, std::int64_t high, std::int64_t& out) {
    if (!field.present) return absl::OkStatus();
    return reader.Whole(field.name, AsNumber(text(field)), text(field), low, high, out);
  };
  const std::string_view arrival = text(columns.arrival);
  BATON_RETURN_IF_ERROR(reader.Arrival(columns.arrival.name,
                                       columns.timestamps ? AsTimestamp(arrival) : AsNumber(arrival), arrival,
                                       request.arrival_s));
  BATON_RETURN_IF_ERROR(whole(columns.id, 0, kIdMax, request.id));
  BATON_RETURN_IF_ERROR(whole(columns.prompt, 1, reader.TokensMax(), request.prompt_tokens));
  BATON_RETURN_IF_ERROR(whole(columns.output, 1, reader.TokensMax(), request.output_tokens));
  std::int64_t prefix = 0;
  BATON_RETURN_IF_ERROR(whole(columns.prefix, 0, kIdMax, prefix));
  request.prefix_id = static_cast<std::uint64_t>(prefix);
  BATON_RETURN_IF_ERROR(whole(columns.prefix_tokens, 0, reader.TokensMax(), request.prefix_tokens));
  return reader.Check(request);
}

absl::Status ReadObject(std::string_view line, const RowReader& reader, WorkloadRequest& request) {
  const auto value = json::Parse(line, {.bytes = kJsonLineMax, .depth = 4, .nodes = 256});
  if (!value.ok())
    return Error(kInvalidArgument, "{}:{}: {}", reader.Name(), reader.Line(), Message(value.status()));
  if (value->AsObject() == nullptr) {
    return Error(kInvalidArgument, "{}:{}: want an object, have {}", reader.Name(), reader.Line(),
                 value->KindName());
  }
  const auto number = [&](std::string_view key, std::string& text) -> std::optional<double> {
    const json::Value* member = value->Find(key);
    text = member == nullptr ? "(missing)" : json::Serialize(*member);
    if (member == nullptr || !member->IsNumber()) return std::nullopt;
    return member->Number();
  };
  std::string text;
  std::optional<double> at = number("arrival_s", text);
  BATON_RETURN_IF_ERROR(reader.Arrival("arrival_s", at, text, request.arrival_s));
  const auto whole = [&](std::string_view key, bool required, std::int64_t low, std::int64_t high,
                         std::int64_t& out) {
    if (!required && value->Find(key) == nullptr) return absl::OkStatus();
    const std::optional<double> n = number(key, text);
    return reader.Whole(key, n, text, low, high, out);
  };
  BATON_RETURN_IF_ERROR(whole("id", false, 0, kIdMax, request.id));
  BATON_RETURN_IF_ERROR(whole("prompt_tokens", true, 1, reader.TokensMax(), request.prompt_tokens));
  BATON_RETURN_IF_ERROR(whole("output_tokens", true, 1, reader.TokensMax(), request.output_tokens));
  std::int64_t prefix = 0;
  BATON_RETURN_IF_ERROR(whole("prefix_id", false, 0, kIdMax, prefix));
  request.prefix_id = static_cast<std::uint64_t>(prefix);
  BATON_RETURN_IF_ERROR(whole("prefix_tokens", false, 0, reader.TokensMax(), request.prefix_tokens));
  return reader.Check(request);
}

// Whoever means a time within the trace writes less; nothing begins after it in mode splitwise.
constexpr double kDayS = 86'400;

void PutInOrder(Workload& workload, bool from_zero) {
  auto& requests = workload.requests;
  const auto earlier = [](const WorkloadRequest& a, const WorkloadRequest& b) {
    return a.arrival_s < b.arrival_s;
  };
  if (!std::is_sorted(requests.begin(), requests.end(), earlier)) {
    std::stable_sort(requests.begin(), requests.end(), earlier);
  }
  const double first = requests.front().arrival_s;
  if (!from_zero && first < kDayS) return;
  for (WorkloadRequest& request : requests) request.arrival_s -= first;
}

std::string AsTimestampText(double seconds) {
  // The dataset's own day; only differences matter.
  const auto ticks = static_cast<std::int64_t>(std::llround(seconds * 1e7));
  const std::int64_t whole = ticks / 10'000'000;
  const std::chrono::sys_days day =
      std::chrono::sys_days{std::chrono::year{2023} / 11 / 16} + std::chrono::days(whole / 86400);
  const std::chrono::year_month_day date{day};
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:07}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     whole / 3600 % 24, whole / 60 % 60, whole % 60, ticks % 10'000'000);
}

}  // namespace

std::string_view NameOf(TraceFormat format) {
  return kFormatNames[static_cast<std::size_t>(format)];
}

absl::StatusOr<TraceFormat> TraceFormatOf(std::string_view name) {
  for (std::size_t i = 0; i < kFormatNames.size(); ++i) {
    if (kFormatNames[i] == name) return static_cast<TraceFormat>(i);
  }
  return Error(kInvalidArgument, "trace format '{}': want {}", name, fmt::join(kFormatNames, ", "));
}

absl::StatusOr<Workload> ParseTrace(std::string_view text, const std::string& name,
                                    const TraceLimits& limits) {
  if (text.size() > limits.file_bytes) {
    return Error(kResourceExhausted, "{}: {} bytes, at most {} are read", name, text.size(),
                 limits.file_bytes);
  }
  if (const std::string_view what = WhatElse(text); !what.empty())
    return Error(kInvalidArgument, "{}: is {}", name, what);
  Lines lines(text);
  std::optional<std::string_view> line = lines.Next();
  if (!line) return Error(kInvalidArgument, "{}: empty: a trace begins with a header or a JSON object", name);
  const bool objects = line->front() == '{';
  Header header{.format = TraceFormat::kJsonl, .columns = {}, .count = 0};
  if (!objects) {
    BATON_ASSIGN_OR_RETURN(header, ReadHeader(*line, name, lines.Number()));
    line = lines.Next();
  }
  Workload workload{.name = name, .requests = {}};
  RowReader reader(name, limits);
  std::vector<std::string_view> cells;
  for (; line; line = lines.Next()) {
    reader.At(lines.Number());
    if (static_cast<std::int64_t>(workload.requests.size()) >= limits.requests) {
      return Error(kResourceExhausted, "{}:{}: more than {} requests", name, lines.Number(), limits.requests);
    }
    WorkloadRequest request;
    request.id = static_cast<std::int64_t>(workload.requests.size());
    if (objects) {
      BATON_RETURN_IF_ERROR(ReadObject(*line, reader, request));
    } else {
      Split(*line, cells);
      BATON_RETURN_IF_ERROR(ReadRow(cells, header, reader, request));
    }
    workload.requests.push_back(request);
  }
  if (workload.requests.empty()) return Error(kInvalidArgument, "{}: no requests below the header", name);
  PutInOrder(workload, header.columns.timestamps);
  return workload;
}

absl::StatusOr<Workload> ReadTrace(const std::string& path, const TraceLimits& limits) {
  std::error_code problem;
  if (std::filesystem::is_directory(path, problem)) {
    return Error(kInvalidArgument, "{}: is a folder, want a trace file", path);
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error(kNotFound, "{}: cannot be read: {}", path, std::strerror(errno));
  std::string text;
  std::vector<char> piece(1 << 20);
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())) || file.gcount() > 0) {
    text.append(piece.data(), static_cast<std::size_t>(file.gcount()));
    if (text.size() > limits.file_bytes) break;  // named by ParseTrace
  }
  return ParseTrace(text, path, limits);
}

std::string FormatTrace(const Workload& workload, TraceFormat format) {
  std::string out;
  const auto line = std::back_inserter(out);
  if (format == TraceFormat::kReference) fmt::format_to(line, "{}\n", kReferenceHeader);
  if (format == TraceFormat::kAzure) fmt::format_to(line, "{}\n", kAzureHeader);
  if (format == TraceFormat::kCsv)
    out += "id,arrival_s,prompt_tokens,output_tokens,prefix_id,prefix_tokens\n";
  for (const WorkloadRequest& request : workload.requests) {
    switch (format) {
      case TraceFormat::kReference:
        fmt::format_to(line, "{},2,0,{},1,{},{}\n", request.id, request.arrival_s, request.prompt_tokens,
                       request.output_tokens);
        break;
      case TraceFormat::kAzure:
        fmt::format_to(line, "{},{},{}\n", AsTimestampText(request.arrival_s), request.prompt_tokens,
                       request.output_tokens);
        break;
      case TraceFormat::kCsv:
        fmt::format_to(line, "{},{},{},{},{},{}\n", request.id, request.arrival_s, request.prompt_tokens,
                       request.output_tokens, request.prefix_id, request.prefix_tokens);
        break;
      case TraceFormat::kJsonl:
        fmt::format_to(line, R"({{"id":{},"arrival_s":{},"prompt_tokens":{},"output_tokens":{})", request.id,
                       request.arrival_s, request.prompt_tokens, request.output_tokens);
        if (request.prefix_id != 0) {
          fmt::format_to(line, R"(,"prefix_id":{},"prefix_tokens":{})", request.prefix_id,
                         request.prefix_tokens);
        }
        out += "}\n";
        break;
    }
  }
  return out;
}

absl::Status WriteText(const std::string& path, std::string_view text) {
  std::FILE* file = path == "-" ? stdout : std::fopen(path.c_str(), "wb");
  if (file == nullptr)
    return Error(kInvalidArgument, "{}: cannot be written: {}", path, std::strerror(errno));
  const bool written =
      std::fwrite(text.data(), 1, text.size(), file) == text.size() && std::fflush(file) == 0;
  const int problem = errno;
  if (path != "-" && std::fclose(file) != 0 && written) {
    return Error(kInvalidArgument, "{}: cannot be written: {}", path, std::strerror(errno));
  }
  if (!written) return Error(kInvalidArgument, "{}: cannot be written: {}", path, std::strerror(problem));
  return absl::OkStatus();
}

}  // namespace baton::simulator
