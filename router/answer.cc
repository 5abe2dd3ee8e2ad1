#include "router/answer.h"

#include <algorithm>
#include <utility>

namespace baton::router {

Answer::Answer(const text::Tokenizer& tokenizer, Options options)
    : options_(std::move(options)),
      decoder_(tokenizer, options_.skip_special_tokens),
      scanner_(options_.stop, options_.include_stop_text) {}

Answer::Step Answer::Take(std::int64_t index, TokenId token, const std::string& finish) {
  Step step;
  if (ended_ || index < count_ || index >= options_.tokens_max) return step;
  early_.try_emplace(index, Early{token, finish});
  while (!ended_ && !early_.empty() && early_.begin()->first == count_) {
    const Early next = std::move(early_.begin()->second);
    early_.erase(early_.begin());
    Append(next.token, next.finish, step);
  }
  return step;
}

void Answer::Append(TokenId token, const std::string& finish, Step& step) {
  ++count_;
  ++step.tokens;
  const bool shown = finish != "stop" || options_.include_stop_text;
  if (shown) {
    StopScanner::Piece piece = scanner_.Push(decoder_.Push(token));
    step.text += piece.text;
    if (piece.stop) {
      ended_ = true;
      step.end = AnswerEnd{"stop", json::Value(*piece.stop)};
      return;
    }
  }
  if (!finish.empty()) End(token, finish, step);
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
