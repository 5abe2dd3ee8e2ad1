#include <charconv>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>

#include <absl/container/flat_hash_set.h>
#include <absl/hash/hash.h>
#include <boost/json/basic_parser_impl.hpp>

#include "common/base/error.h"
#include "common/json/value.h"

namespace baton::json {
namespace {

namespace bj = boost::json;

// Up to here a scan for duplicate keys is cheaper than a hash set.
constexpr std::size_t kLinearMembers = 16;

/// Hashes and compares members of one object by their keys, given their positions.
struct MemberKeys {
  const Object* members;
  std::size_t operator()(std::size_t index) const {
    return absl::Hash<std::string>{}((*members)[index].first);
  }
  bool operator()(std::size_t a, std::size_t b) const { return (*members)[a].first == (*members)[b].first; }
};

/// An object or array that is being read. Stays where it is: the index points into it.
struct Frame {
  bool is_object = false;
  Object members;
  Array elements;
  std::optional<absl::flat_hash_set<std::size_t, MemberKeys, MemberKeys>> index;

  /// Whether the last member's key is new.
  bool LastKeyIsNew();
};

bool Frame::LastKeyIsNew() {
  const std::size_t last = members.size() - 1;
  if (members.size() <= kLinearMembers) {
    for (std::size_t i = 0; i < last; ++i) {
      if (members[i].first == members[last].first) return false;
    }
    return true;
  }
  if (!index) {
    index.emplace(2 * kLinearMembers, MemberKeys{&members}, MemberKeys{&members});
    for (std::size_t i = 0; i < last; ++i) index->insert(i);
  }
  return index->insert(last).second;
}

/// Receives the parser's events and builds the value; says why where it stops the parser.
struct Builder {
  static constexpr std::size_t max_object_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_array_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_key_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_string_size = std::numeric_limits<std::size_t>::max();

  std::size_t nodes_left = 0;
  std::vector<std::unique_ptr<Frame>> open;
  Value root;
  std::string part;  // the beginning of a string, key or number
  std::string refusal;

  bool Refuse(bj::error_code& ec, std::string why) {
    refusal = std::move(why);
    ec = bj::error::exception;
    return false;
  }
  /// Counts a value before it is built.
  bool Count(bj::error_code& ec) {
    if (nodes_left == 0) return Refuse(ec, "too many values");
    --nodes_left;
    return true;
  }
  bool Place(Value value) {
    if (open.empty()) {
      root = std::move(value);
    } else if (open.back()->is_object) {
      open.back()->members.back().second = std::move(value);
    } else {
      open.back()->elements.push_back(std::move(value));
    }
    return true;
  }
  bool Open(bool is_object, bj::error_code& ec) {
    if (!Count(ec)) return false;
    open.push_back(std::make_unique<Frame>());
    open.back()->is_object = is_object;
    return true;
  }
  /// `part` and `rest`; `part` is empty afterwards.
  std::string Take(bj::string_view rest) {
    std::string whole = std::move(part);
    part.clear();
    whole.append(rest.data(), rest.size());
    return whole;
  }

  // The events, named by Boost.JSON.
  bool on_document_begin(bj::error_code&) { return true; }
  bool on_document_end(bj::error_code&) { return true; }
  bool on_object_begin(bj::error_code& ec) { return Open(true, ec); }
  bool on_array_begin(bj::error_code& ec) { return Open(false, ec); }
  bool on_object_end(std::size_t, bj::error_code&) {
    const std::unique_ptr<Frame> frame = std::move(open.back());
    open.pop_back();
    return Place(std::move(frame->members));
  }
  bool on_array_end(std::size_t, bj::error_code&) {
    const std::unique_ptr<Frame> frame = std::move(open.back());
    open.pop_back();
    return Place(std::move(frame->elements));
  }
  bool on_part(bj::string_view text) {
    part.append(text.data(), text.size());
    return true;
  }
  bool on_key_part(bj::string_view text, std::size_t, bj::error_code&) { return on_part(text); }
  bool on_string_part(bj::string_view text, std::size_t, bj::error_code&) { return on_part(text); }
  bool on_number_part(bj::string_view text, bj::error_code&) { return on_part(text); }
  bool on_key(bj::string_view text, std::size_t, bj::error_code& ec);
  bool on_string(bj::string_view text, std::size_t, bj::error_code& ec) {
    return Count(ec) && Place(Take(text));
  }
  bool on_int64(std::int64_t number, bj::string_view, bj::error_code& ec) {
    part.clear();
    return Count(ec) && Place(number);
  }
  bool on_uint64(std::uint64_t number, bj::string_view text, bj::error_code& ec) {
    if (number > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
      return on_double(static_cast<double>(number), text, ec);
    }
    return on_int64(static_cast<std::int64_t>(number), text, ec);
  }
  bool on_double(double estimate, bj::string_view text, bj::error_code& ec);
  bool on_bool(bool value, bj::error_code& ec) { return Count(ec) && Place(value); }
  bool on_null(bj::error_code& ec) { return Count(ec) && Place(nullptr); }
  bool on_comment_part(bj::string_view, bj::error_code&) { return true; }
  bool on_comment(bj::string_view, bj::error_code&) { return true; }
};

bool Builder::on_key(bj::string_view text, std::size_t, bj::error_code& ec) {
  Frame& object = *open.back();
  object.members.emplace_back(Take(text), nullptr);
  if (object.LastKeyIsNew()) return true;
  constexpr std::size_t kShownBytes = 64;
  const std::string& key = object.members.back().first;
  return Refuse(ec, fmt::format("duplicate key '{}'", key.substr(0, kShownBytes)));
}

// Boost.JSON's own value may be off by a unit in the last place; the text is read again, exactly.
bool Builder::on_double(double estimate, bj::string_view text, bj::error_code& ec) {
  if (!Count(ec)) return false;
  const std::string digits = Take(text);
  double exact = 0.0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), exact);
  if (error == std::errc::result_out_of_range) {
    if (!(std::abs(estimate) < 1.0)) return Refuse(ec, "number out of range");
    exact = std::copysign(0.0, estimate);  // too small for a double
  } else if (error != std::errc() || end != digits.data() + digits.size()) {
    return Refuse(ec, "bad number");
  }
  return Place(exact);
}

absl::Status InvalidAt(std::size_t byte, std::string_view why) {
  return Error(kInvalidArgument, "invalid JSON at byte {}: {}", byte, why);
}

}  // namespace

absl::StatusOr<Value> Parse(std::string_view text, const Limits& limits) {
  if (text.size() > limits.bytes) {
    return InvalidAt(limits.bytes,
                     fmt::format("text of {} bytes, at most {} allowed", text.size(), limits.bytes));
  }
  bj::parse_options options;
  options.max_depth = limits.depth;
  bj::basic_parser<Builder> parser(options);
  parser.handler().nodes_left = limits.nodes;
  bj::error_code ec;
  const std::size_t consumed = parser.write_some(false, text.data(), text.size(), ec);
  if (ec) {
    const std::string& refusal = parser.handler().refusal;
    return InvalidAt(consumed, refusal.empty() ? ec.message() : refusal);
  }
  if (consumed != text.size()) return InvalidAt(consumed, "text after the end of the value");
  return std::move(parser.handler().root);
}

}  // namespace baton::json
