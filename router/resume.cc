#include "router/resume.h"

#include <algorithm>

namespace baton::router {
namespace {

// About what two workers take to report that they lost each other, and what a client hardly notices.
constexpr Duration kPauseFirst = std::chrono::milliseconds(100);
constexpr Duration kPauseMax = std::chrono::seconds(1);

}  // namespace

std::string_view ClientCode(std::string_view worker_code) {
  if (worker_code == "peer_lost") return "worker_lost";
  for (const std::string_view known : {"kv_transfer", "no_memory", "deadline", "worker_lost"}) {
    if (worker_code == known) return known;
  }
  return "internal_error";
}

std::optional<Duration> PauseBeforeNext(Attempt failed, std::string_view client_code,
                                        const ResumeLimits& limits) {
  if (client_code == "internal_error" || client_code == "deadline") return std::nullopt;
  if (std::int64_t{failed.value} >= limits.attempts) return std::nullopt;
  if (failed.value <= 1) return Duration(0);
  Duration pause = kPauseFirst;
  for (std::uint32_t i = 2; i < failed.value && pause < kPauseMax; ++i) pause *= 2;
  return std::min(pause, kPauseMax);
}

Beginning BeginningOf(const std::shared_ptr<const std::vector<TokenId>>& prompt,
                      const std::vector<Answer>& answers) {
  if (answers.size() != 1 || answers.front().Count() == 0) return {.tokens = prompt};
  const std::vector<TokenId>& made = answers.front().Tokens();
  std::vector<TokenId> tokens = *prompt;
  tokens.insert(tokens.end(), made.begin(), made.end());
  return {.tokens = std::make_shared<const std::vector<TokenId>>(std::move(tokens)),
          .resumed = std::ssize(made)};
}

}  // namespace baton::router
