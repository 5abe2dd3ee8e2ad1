#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/ids.h"
#include "common/text/tokenizer.h"
#include "router/http/response.h"
#include "router/http/stop_scanner.h"
#include "router/messages.h"

namespace baton::router {

/// Turns token reports, in whatever order and number they come, into the answer's text: puts them in order,
/// drops repeats, decodes, looks for stop strings. One per request; not thread-safe.
class Answer {
 public:
  struct Options {
    std::int64_t tokens_max = 0;
    bool skip_special_tokens = true;
    std::vector<std::string> stop;
    bool include_stop_text = false;
    std::vector<TokenId> client_stop_ids = {};  // named as stop_reason when one ends the answer
    /// Tokens count only with their log-probabilities: a report without them is a repeat of one that has.
    bool logprobs = false;
    std::string prefix = {};  // comes before the answer's own text
    /// The prefix is all that is shown: the one token that a worker makes anyway is not.
    bool prefix_alone = false;
  };
  Answer(const text::Tokenizer& tokenizer, Options options);

  /// Of the prefix's tokens; to be set before the first report where they are wanted.
  void SetPrefixLogprobs(std::shared_ptr<const std::vector<ShownLogprobs>> logprobs) {
    prefix_logprobs_ = std::move(logprobs);
  }

  struct Step {
    std::string text;                     // may be shown now
    std::int64_t tokens = 0;              // that came into order by this report
    std::vector<ShownLogprobs> logprobs;  // of those of them that are text
    std::optional<AnswerEnd> end;         // set once; nothing counts after it
  };
  /// A report of the token at `index`, from 0. A finish ends the answer after that token; a token that stops
  /// it is counted, and is text only with include_stop_text. What lies outside [0, tokens_max) is ignored.
  [[nodiscard]] Step Take(std::int64_t index, TokenId token, const std::string& finish,
                          std::optional<Logprobs> logprobs = {});

  /// Tokens of the answer so far.
  [[nodiscard]] std::int64_t Count() const { return std::ssize(tokens_); }
  [[nodiscard]] const std::vector<TokenId>& Tokens() const { return tokens_; }
  /// Forgets reports ahead of their turn: who made them is gone.
  void DropEarly() { early_.clear(); }
  [[nodiscard]] bool Ended() const { return ended_; }

 private:
  struct Early {
    TokenId token = 0;
    std::string finish;
    std::optional<Logprobs> logprobs;
  };
  void Append(const Early& report, Step& step);
  void End(TokenId token, const std::string& finish, Step& step);

  Options options_;
  const text::Tokenizer* tokenizer_;
  text::StreamDecoder decoder_;
  StopScanner scanner_;
  std::map<std::int64_t, Early> early_;  // reports ahead of their turn; at most tokens_max
  std::vector<TokenId> tokens_;          // of the answer so far
  std::int64_t characters_ = 0;          // decoded so far, the prefix among them
  std::shared_ptr<const std::vector<ShownLogprobs>> prefix_logprobs_;
  bool ended_ = false;
};

/// What clients see of a prompt's tokens, whose text is echoed as `prefix`; `rest`: of all but the first.
[[nodiscard]] std::vector<ShownLogprobs> ShownPrompt(const text::Tokenizer& tokenizer,
                                                     const std::vector<TokenId>& prompt,
                                                     const std::vector<Logprobs>& rest,
                                                     std::string_view prefix);

}  // namespace baton::router
