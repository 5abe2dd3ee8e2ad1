#include "router/http/logprobs_value.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "common/base/utf8.h"

namespace baton::router {
namespace {

using json::Array;
using json::Object;
using json::Value;

// JSON has no infinity; what the API's inventor sends for a token without a chance.
constexpr double kLowest = -9999;

double Finite(double logprob) {
  return std::max(logprob, kLowest);
}

Object ChatToken(const ShownToken& token) {
  std::string text;
  AppendAsValidUtf8(text, token.bytes);
  Array bytes;
  for (const char byte : token.bytes) bytes.emplace_back(std::int64_t{static_cast<unsigned char>(byte)});
  Object out;
  out.emplace_back("token", std::move(text));
  out.emplace_back("logprob", Finite(token.logprob));
  out.emplace_back("bytes", std::move(bytes));
  return out;
}

Value ChatLogprobs(const std::vector<ShownLogprobs>& logprobs) {
  Array content;
  for (const ShownLogprobs& shown : logprobs) {
    Object token = ChatToken(shown.token);
    Array top;
    for (const ShownToken& other : shown.top) top.emplace_back(ChatToken(other));
    token.emplace_back("top_logprobs", std::move(top));
    content.emplace_back(std::move(token));
  }
  Object out;
  out.emplace_back("content", std::move(content));
  out.emplace_back("refusal", nullptr);
  return out;
}

std::string CompletionToken(const ShownToken& token) {
  if (ValidUtf8Prefix(token.bytes) == token.bytes.size()) return token.bytes;
  std::string out = "bytes:";
  for (const char byte : token.bytes) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
  return out;
}

/// The alternatives by their text, and the token itself. Of tokens that look alike the likeliest is named.
Object CompletionTop(const ShownLogprobs& shown) {
  Object out;
  const auto add = [&](const ShownToken& token) {
    std::string text = CompletionToken(token);
    const bool known =
        std::any_of(out.begin(), out.end(), [&](const auto& member) { return member.first == text; });
    if (!known) out.emplace_back(std::move(text), Finite(token.logprob));
  };
  for (const ShownToken& other : shown.top) add(other);
  add(shown.token);
  return out;
}

Value CompletionLogprobs(const std::vector<ShownLogprobs>& logprobs) {
  Array tokens;
  Array values;
  Array top;
  Array offsets;
  for (const ShownLogprobs& shown : logprobs) {
    tokens.emplace_back(CompletionToken(shown.token));
    values.emplace_back(shown.known ? Value(Finite(shown.token.logprob)) : Value());
    top.emplace_back(shown.known ? Value(CompletionTop(shown)) : Value());
    offsets.emplace_back(shown.text_offset);
  }
  Object out;
  out.emplace_back("tokens", std::move(tokens));
  out.emplace_back("token_logprobs", std::move(values));
  out.emplace_back("top_logprobs", std::move(top));
  out.emplace_back("text_offset", std::move(offsets));
  return out;
}

}  // namespace

Value LogprobsValue(Endpoint endpoint, const std::vector<ShownLogprobs>& logprobs) {
  if (logprobs.empty()) return {};
  return endpoint == Endpoint::kChat ? ChatLogprobs(logprobs) : CompletionLogprobs(logprobs);
}

}  // namespace baton::router
