#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/check.h"
#include "common/net/http_parser.h"

namespace {

using baton::net::RequestParser;

/// What becomes of `text`, fed `step` bytes at a time.
struct Outcome {
  RequestParser::State state = RequestParser::State::kHead;
  int status = 0;
  std::string path;
  std::string body;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome Feed(std::string_view text, std::size_t step) {
  baton::net::HttpLimits limits;
  limits.header_bytes_max = 512;
  limits.body_bytes_max = 256;
  RequestParser parser(limits);
  std::string waiting;
  for (std::size_t at = 0; at < text.size(); at += step) {
    waiting += text.substr(at, step);
    const std::size_t taken = parser.Consume(waiting);
    BATON_CHECK(taken <= waiting.size());
    waiting.erase(0, taken);
    BATON_CHECK(parser.GetState() != RequestParser::State::kHead ||
                waiting.size() <= limits.header_bytes_max);
  }
  Outcome outcome{.state = parser.GetState(), .path = {}, .body = {}};
  if (outcome.state == RequestParser::State::kRefused) outcome.status = parser.GetRefusal().status;
  if (outcome.state == RequestParser::State::kComplete) {
    const baton::net::HttpRequest request = parser.Take();
    BATON_CHECK(request.body.size() <= limits.body_bytes_max);
    BATON_CHECK(request.path.find('\0') == std::string::npos);
    outcome.path = request.path;
    outcome.body = request.body;
  }
  return outcome;
}

}  // namespace

/// Any bytes: parsing survives and stays within its limits, and a request that is whole is the same however
/// it was cut.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Outcome whole = Feed(text, size + 1);
  const Outcome bytewise = Feed(text, 1);
  if (whole.state == RequestParser::State::kComplete) BATON_CHECK(bytewise == whole);
  return 0;
}
