#include "router/answer.h"

#include <algorithm>
#include <utility>

namespace baton::router {

namespace {

std::int64_t CharactersIn(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; });
}

ShownLogprobs ShownAs(const text::Tokenizer& tokenizer, TokenId token, const Logprobs& logprobs,
                      std::int64_t text_offset) {
  const auto shown = [&](TokenId id, float logprob) {
    return ShownToken{std::string(tokenizer.TokenBytes(id, /*skip_special=*/false)), logprob};
  };
  ShownLogprobs out{.token = shown(token, logprobs.chosen), .top = {}, .text_offset = text_offset};
  for (const TokenLogprob& top : logprobs.top) out.top.push_back(shown(top.token, top.logprob));
  return out;
}

}  // namespace

std::vector<ShownLogprobs> ShownPrompt(const text::Tokenizer& tokenizer, const std::vector<TokenId>& prompt,
                                       const std::vector<Logprobs>& rest, std::string_view prefix) {
  // The echo has the client's words, and tokens may say more (a first BOS) or less: offsets are those of the
  // decoded text, within the echo.
  text::StreamDecoder decoder(tokenizer, /*skip_special=*/true);
  const std::int64_t end = CharactersIn(prefix);
  std::int64_t offset = 0;
  std::vector<ShownLogprobs> out;
  out.reserve(prompt.size());
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    const bool known = i > 0 && i <= rest.size();
    out.push_back(ShownAs(tokenizer, prompt[i], known ? rest[i - 1] : Logprobs{}, std::min(offset, end)));
    out.back().known = known;
    offset += CharactersIn(decoder.Push(prompt[i]));
  }
  return out;
}

Answer::Answer(const text::Tokenizer& tokenizer, Options options)
    : options_(std::move(options)),
      tokenizer_(&tokenizer),
      decoder_(tokenizer, options_.skip_special_tokens),
      scanner_(options_.stop, options_.include_stop_text),
      characters_(CharactersIn(options_.prefix)) {}

Answer::Step Answer::Take(std::int64_t index, TokenId token, const std::string& finish,
                          std::optional<Logprobs> logprobs) {
  Step step;
  if (ended_ || index < Count() || index >= options_.tokens_max) return step;
  if (options_.logprobs && !logprobs) return step;
  early_.try_emplace(index, Early{token, finish, std::move(logprobs)});
  while (!ended_ && !early_.empty() && early_.begin()->first == Count()) {
    const Early next = std::move(early_.begin()->second);
    early_.erase(early_.begin());
    Append(next, step);
  }
  return step;
}

void Answer::Append(const Early& report, Step& step) {
  if (tokens_.empty()) {
    step.text = options_.prefix;
    if (prefix_logprobs_ != nullptr) step.logprobs = *prefix_logprobs_;
  }
  tokens_.push_back(report.token);
  ++step.tokens;
  if (options_.prefix_alone) {
    ended_ = true;
    step.end = AnswerEnd{"length", {}};
    return;
  }
  const bool shown = report.finish != "stop" || options_.include_stop_text;
  if (shown) {
    if (report.logprobs && options_.logprobs)
      step.logprobs.push_back(ShownAs(*tokenizer_, report.token, *report.logprobs, characters_));
    const std::string text = decoder_.Push(report.token);
    characters_ += CharactersIn(text);
    StopScanner::Piece piece = scanner_.Push(text);
    step.text += piece.text;
    if (piece.stop) {
      ended_ = true;
      step.end = AnswerEnd{"stop", json::Value(*piece.stop)};
      return;
    }
  }
  if (!report.finish.empty()) End(report.token, report.finish, step);
}

void Answer::End(TokenId token, const std::string& finish, Step& step) {
  ended_ = true;
  StopScanner::Piece piece = scanner_.Push(decoder_.Flush());
  step.text += piece.text;
  if (piece.stop) {
    step.end = AnswerEnd{"stop", json::Value(*piece.stop)};
    return;
  }
  step.text += scanner_.Flush();
  const auto& ids = options_.client_stop_ids;
  const bool named = finish == "stop" && std::find(ids.begin(), ids.end(), token) != ids.end();
  step.end = AnswerEnd{finish, named ? json::Value(std::int64_t{token}) : json::Value()};
}

}  // namespace baton::router
