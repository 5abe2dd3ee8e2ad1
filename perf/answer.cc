#include "perf/answer.h"

#include "common/base/error.h"
#include "common/json/value.h"
#include "common/net/http_client.h"
#include "perf/sse_reader.h"

namespace baton::perf {
namespace {

std::string Text(const json::Value* value) {
  return value != nullptr && value->AsString() != nullptr ? *value->AsString() : "";
}

std::int64_t Whole(const json::Value* value) {
  return value != nullptr && value->AsInt() != nullptr ? *value->AsInt() : 0;
}

void TakeError(const json::Value& error, Answer& answer) {
  answer.error_code = Text(error.Find("code"));
  answer.error_message = Text(error.Find("message"));
  if (answer.error_code.empty()) answer.error_code = "unnamed";
}

void TakeUsage(const json::Value* usage, Answer& answer) {
  if (usage == nullptr || usage->AsObject() == nullptr) return;
  const json::Value* details = usage->Find("prompt_tokens_details");
  const json::Value* cached = details != nullptr ? details->Find("cached_tokens") : nullptr;
  answer.usage = Usage{.prompt_tokens = Whole(usage->Find("prompt_tokens")),
                       .completion_tokens = Whole(usage->Find("completion_tokens")),
                       .cached_tokens = Whole(cached)};
}

/// The text of a choice, wherever its endpoint and style put it.
std::string ChoiceText(const json::Value& choice) {
  if (const json::Value* text = choice.Find("text")) return Text(text);
  for (const char* holder : {"delta", "message"}) {
    if (const json::Value* object = choice.Find(holder)) return Text(object->Find("content"));
  }
  return "";
}

/// Takes a whole body or an event into `answer`; the text that it brought.
std::string TakeObject(const json::Value& object, Answer& answer) {
  if (const json::Value* error = object.Find("error"); error != nullptr && !error->IsNull()) {
    TakeError(*error, answer);
    return "";
  }
  TakeUsage(object.Find("usage"), answer);
  const json::Value* choices = object.Find("choices");
  if (choices == nullptr || choices->AsArray() == nullptr) {
    answer.framing_error = "an answer without choices";
    return "";
  }
  if (choices->AsArray()->empty()) return "";
  const json::Value& choice = choices->AsArray()->front();
  std::string text = ChoiceText(choice);
  if (const std::string finish = Text(choice.Find("finish_reason")); !finish.empty()) {
    answer.finish_reason = finish;
    ++answer.finish_events;
  }
  answer.text += text;
  return text;
}

/// An event of a stream; false hangs up.
bool TakeEvent(std::string_view data, const AskOptions& options, Answer& answer) {
  if (options.on_event) options.on_event(data);
  if (answer.done) answer.framing_error = "an event after [DONE]";
  if (data == "[DONE]") {
    answer.done = true;
    return true;
  }
  const auto object = json::Parse(data);
  if (!object.ok()) {
    answer.framing_error = Message(object.status());
    return true;
  }
  const std::string text = TakeObject(*object, answer);
  if (text.empty()) return true;
  answer.text_at.push_back(std::chrono::steady_clock::now());
  return !options.on_text || options.on_text(text);
}

const net::HttpHeaders kHeaders = {{"Content-Type", "application/json"}};

void AskWhole(const AskOptions& options, Answer& answer) {
  auto response =
      net::HttpClient::Request(options.server, "POST", options.path, kHeaders, options.body, options.timeout);
  if (!response.ok()) {
    answer.transport_error = Message(response.status());
    answer.hung_up = response.status().code() == kDeadlineExceeded;
    return;
  }
  answer.status = response->status;
  answer.body = std::move(response->body);
}

void AskStream(const AskOptions& options, Answer& answer) {
  SseReader reader;
  bool wanted = true;
  const auto on_piece = [&](std::string_view piece) {
    answer.body.append(piece);
    const auto framing = reader.Push(
        piece, [&](std::string_view data) { wanted = TakeEvent(data, options, answer) && wanted; });
    if (!framing.ok()) answer.framing_error = Message(framing);
    return wanted;
  };
  const auto response = net::HttpClient::Stream(options.server, "POST", options.path, kHeaders, options.body,
                                                options.timeout, on_piece);
  if (!response.ok()) {
    answer.transport_error = Message(response.status());
    answer.hung_up = !wanted || response.status().code() == kDeadlineExceeded;
    return;
  }
  answer.status = response->status;
  if (answer.status != 200) {
    answer.framing_error.clear();  // an error body is no stream
    return;
  }
  if (!reader.BetweenEvents()) answer.framing_error = "the body ends inside an event";
  if (!answer.done) answer.framing_error = "the body ends without [DONE]";
  answer.body.clear();
}

}  // namespace

bool Answer::Complete() const {
  return status == 200 && !finish_reason.empty() && finish_events == 1 && error_code.empty() &&
         framing_error.empty() && transport_error.empty();
}

std::string Answer::Describe() const {
  return fmt::format(
      "status {}, {} pieces, finish '{}', done {}, error '{}' {}, framing '{}', transport '{}'", status,
      text_at.size(), finish_reason, done, error_code, error_message, framing_error, transport_error);
}

Answer Ask(const AskOptions& options) {
  Answer answer;
  answer.begun = std::chrono::steady_clock::now();
  if (options.stream) {
    AskStream(options, answer);
  } else {
    AskWhole(options, answer);
  }
  answer.ended = std::chrono::steady_clock::now();
  const bool has_body = answer.status != 0 && !answer.body.empty();
  if (!has_body) return answer;
  if (const auto object = json::Parse(answer.body); object.ok()) {
    const std::string text = TakeObject(*object, answer);
    if (!text.empty()) answer.text_at.push_back(answer.ended);
  } else {
    answer.framing_error = Message(object.status());
  }
  return answer;
}

absl::StatusOr<net::Address> ParseUrl(std::string_view url) {
  constexpr std::string_view kScheme = "http://";
  if (!url.starts_with(kScheme))
    return Error(kInvalidArgument, "'{}': a URL such as http://127.0.0.1:8080", url);
  url.remove_prefix(kScheme.size());
  if (url.ends_with('/')) url.remove_suffix(1);
  if (url.find('/') != std::string_view::npos) {
    return Error(kInvalidArgument, "'{}': the server's URL, without a path", url);
  }
  return net::Address::Parse(url);
}

}  // namespace baton::perf
