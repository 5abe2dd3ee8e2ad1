#include "common/text/jinja/printing.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/utf8.h"
#include "common/text/jinja/python_text.h"

namespace baton::text::jinja {
namespace {

/// repr(value), as it is inside of lists and dicts.
class Printer {
 public:
  explicit Printer(Budget& budget) : budget_(budget) {}
  absl::Status Write(const Value& value);
  std::string Take() { return std::move(out_); }

 private:
  absl::Status Add(std::string_view text) {
    BATON_RETURN_IF_ERROR(budget_.Make(text.size()));
    out_ += text;
    return absl::OkStatus();
  }

  std::string out_;
  Budget& budget_;
};

absl::Status Printer::Write(const Value& value) {
  BATON_RETURN_IF_ERROR(budget_.Step());
  if (const std::string* text = value.AsString()) return Add(Repr(*text));
  if (const Value::List* list = value.AsList()) {
    BATON_RETURN_IF_ERROR(Add(value.IsTuple() ? "(" : "["));
    for (std::size_t i = 0; i < list->size(); ++i) {
      if (i > 0) BATON_RETURN_IF_ERROR(Add(", "));
      BATON_RETURN_IF_ERROR(Write((*list)[i]));
    }
    if (!value.IsTuple()) return Add("]");
    return Add(list->size() == 1 ? ",)" : ")");
  }
  if (const Value::Dict* dict = value.AsDict()) {
    BATON_RETURN_IF_ERROR(Add("{"));
    for (std::size_t i = 0; i < dict->size(); ++i) {
      if (i > 0) BATON_RETURN_IF_ERROR(Add(", "));
      BATON_RETURN_IF_ERROR(Add(Repr((*dict)[i].first)));
      BATON_RETURN_IF_ERROR(Add(": "));
      BATON_RETURN_IF_ERROR(Write((*dict)[i].second));
    }
    return Add("}");
  }
  if (value.IsUndefined()) return Add("Undefined");
  if (value.IsNone()) return Add("None");
  if (value.AsBool() != nullptr) return Add(*value.AsBool() ? "True" : "False");
  if (value.AsInt() != nullptr) return Add(fmt::format("{}", *value.AsInt()));
  if (value.AsFloat() != nullptr) return Add(FloatText(*value.AsFloat()));
  return Error(kInvalidArgument, "printing a {}", value.KindName());
}

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Budget& budget) : style_(style), budget_(budget) {}
  absl::Status Write(const Value& value, int level);
  std::string Take() { return std::move(out_); }

 private:
  absl::Status Add(std::string_view text) {
    BATON_RETURN_IF_ERROR(budget_.Make(text.size()));
    out_ += text;
    return absl::OkStatus();
  }
  absl::Status AddString(std::string_view text);
  absl::Status NewLine(int level);
  absl::Status WriteList(const Value::List& list, int level);
  absl::Status WriteDict(const Value::Dict& dict, int level);

  const JsonStyle& style_;
  std::string out_;
  Budget& budget_;
};

absl::Status JsonWriter::AddString(std::string_view text) {
  constexpr std::string_view kSpecial = "\"\\\n\r\t\b\f";
  constexpr std::string_view kLetters = "\"\\nrtbf";
  std::string quoted = "\"";
  while (!text.empty()) {
    const Utf8Step step = NextUtf8(text);
    const std::size_t special = step.code < 0x80 ? kSpecial.find(text[0]) : std::string_view::npos;
    if (special != std::string_view::npos) {
      quoted += '\\';
      quoted += kLetters[special];
    } else if (step.code < 0x20 || (style_.ascii && step.code > 0x7E && step.code < 0x10000)) {
      quoted += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(step.code));
    } else if (style_.ascii && step.code >= 0x10000) {
      const auto rest = static_cast<std::uint32_t>(step.code) - 0x10000;
      quoted += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
    } else {
      quoted += text.substr(0, step.length);
    }
    text.remove_prefix(step.length);
  }
  return Add(quoted + "\"");
}

absl::Status JsonWriter::NewLine(int level) {
  if (!style_.indent) return absl::OkStatus();
  BATON_RETURN_IF_ERROR(Add("\n"));
  for (int i = 0; i < level; ++i) BATON_RETURN_IF_ERROR(Add(*style_.indent));
  return absl::OkStatus();
}

absl::Status JsonWriter::WriteList(const Value::List& list, int level) {
  if (list.empty()) return Add("[]");
  BATON_RETURN_IF_ERROR(Add("["));
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (i > 0) BATON_RETURN_IF_ERROR(Add(style_.item_separator));
    BATON_RETURN_IF_ERROR(NewLine(level + 1));
    BATON_RETURN_IF_ERROR(Write(list[i], level + 1));
  }
  BATON_RETURN_IF_ERROR(NewLine(level));
  return Add("]");
}

absl::Status JsonWriter::WriteDict(const Value::Dict& dict, int level) {
  if (dict.empty()) return Add("{}");
  std::vector<const Value::Dict::value_type*> members;
  members.reserve(dict.size());
  for (const auto& member : dict) members.push_back(&member);
  if (style_.sort_keys) std::ranges::sort(members, {}, [](const auto* member) { return member->first; });
  BATON_RETURN_IF_ERROR(Add("{"));
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (i > 0) BATON_RETURN_IF_ERROR(Add(style_.item_separator));
    BATON_RETURN_IF_ERROR(NewLine(level + 1));
    BATON_RETURN_IF_ERROR(AddString(members[i]->first));
    BATON_RETURN_IF_ERROR(Add(style_.key_separator));
    BATON_RETURN_IF_ERROR(Write(members[i]->second, level + 1));
  }
  BATON_RETURN_IF_ERROR(NewLine(level));
  return Add("}");
}

absl::Status JsonWriter::Write(const Value& value, int level) {
  BATON_RETURN_IF_ERROR(budget_.Step());
  if (const std::string* text = value.AsString()) return AddString(*text);
  if (const Value::List* list = value.AsList()) return WriteList(*list, level);
  if (const Value::Dict* dict = value.AsDict()) return WriteDict(*dict, level);
  if (value.IsNone()) return Add("null");
  if (value.AsBool() != nullptr) return Add(*value.AsBool() ? "true" : "false");
  if (value.AsInt() != nullptr) return Add(fmt::format("{}", *value.AsInt()));
  if (value.AsFloat() != nullptr) {
    const std::string text = FloatText(*value.AsFloat());
    return Add(text == "nan" ? "NaN" : text == "inf" ? "Infinity" : text == "-inf" ? "-Infinity" : text);
  }
  return Error(kInvalidArgument, "{} is not JSON serializable", value.KindName());
}

}  // namespace

absl::StatusOr<std::string> Printed(const Value& value, Budget& budget) {
  if (value.IsUndefined()) return std::string();
  if (value.AsString() != nullptr) {
    BATON_RETURN_IF_ERROR(budget.Make(value.AsString()->size()));
    return *value.AsString();
  }
  Printer printer(budget);
  BATON_RETURN_IF_ERROR(printer.Write(value));
  return printer.Take();
}

absl::StatusOr<std::string> JsonOf(const Value& value, const JsonStyle& style, Budget& budget) {
  JsonWriter writer(style, budget);
  BATON_RETURN_IF_ERROR(writer.Write(value, 0));
  return writer.Take();
}

}  // namespace baton::text::jinja
