#include "tests/storm/book.h"

#include <sstream>

#include <fmt/format.h>

namespace baton::storm {
namespace {

constexpr std::size_t kRecent = 32;

std::size_t Index(Book::Side side) {
  return static_cast<std::size_t>(side);
}

}  // namespace

bool Book::OnLine(const ProcessName& from, const std::string& line) {
  std::istringstream words(line);
  std::string verb;
  RequestKey key;
  std::string end;
  words >> verb;
  const bool sends = verb.starts_with("send-");
  if (!sends && !verb.starts_with("receive-")) return false;
  words >> key.request.value >> key.attempt.value >> end;
  const Side side = sends ? Side::kSender : Side::kReceiver;
  const auto found = open_.find(key);
  if (found == open_.end() || found->second.process[Index(side)] != from ||
      !found->second.open[Index(side)]) {
    violated_(fmt::format("worker {} says '{}', but that side has ended or was never asked", from.worker + 1,
                          line));
    return true;
  }
  Transfer& transfer = found->second;
  if (verb == "send-refused" || verb == "receive-refused") {
    if (!transfer.end[Index(side)].empty())
      violated_(fmt::format("{}: '{}' after '{}'", key, line, transfer.end[Index(side)]));
    End(key, transfer, side, "refused");
    if (on_refused) on_refused(key, side);
    CloseIfOver(key);
    return true;
  }
  if (transfer.must_be_refused) violated_(fmt::format("{} was used before and was accepted again", key));
  if (verb == "send-ended") {
    End(key, transfer, side, end);
  } else if (verb == "receive-released") {
    if (transfer.end[1].empty()) violated_(fmt::format("{} was released before it ended", key));
    transfer.open[1] = false;
  } else {
    if (!transfer.end[1].empty()) violated_(fmt::format("{}: '{}' after '{}'", key, line, transfer.end[1]));
    transfer.end[1] = verb == "receive-committed" ? "acked" : end;
  }
  CloseIfOver(key);
  return true;
}

void Book::End(RequestKey key, Transfer& transfer, Side side, const std::string& end) {
  static_cast<void>(key);
  transfer.end[Index(side)] = end;
  transfer.open[Index(side)] = false;
}

void Book::CloseIfOver(RequestKey key) {
  const auto found = open_.find(key);
  if (found == open_.end() || found->second.open[0] || found->second.open[1]) return;
  const Transfer& transfer = found->second;
  // The receiver's commit counts: an acknowledgement of what was not committed would be a lost prompt.
  if (transfer.end[0] == "acked" && transfer.end[1] != "acked" && transfer.end[1] != "died")
    violated_(fmt::format("{}: acknowledged to its sender, but {} on its receiver", key, transfer.end[1]));
  ++closed_;
  ++ends_["sender " + transfer.end[0]];
  ++ends_["receiver " + transfer.end[1]];
  if (!transfer.must_be_refused) {
    if (recent_.size() >= kRecent) recent_.erase(recent_.begin());
    recent_.emplace_back(key, transfer);
  }
  open_.erase(found);
}

void Book::OnDeath(const ProcessName& process) {
  std::vector<RequestKey> hit;
  for (auto& [key, transfer] : open_) {
    for (const Side side : {Side::kSender, Side::kReceiver}) {
      if (transfer.process[Index(side)] != process || !transfer.open[Index(side)]) continue;
      transfer.open[Index(side)] = false;
      if (transfer.end[Index(side)].empty()) transfer.end[Index(side)] = "died";
      hit.push_back(key);
    }
  }
  for (const RequestKey key : hit) CloseIfOver(key);
}

}  // namespace baton::storm
