#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"

namespace baton::storm {

/// A worker's process: which worker, and how often it has been started.
struct ProcessName {
  std::size_t worker = 0;
  int generation = 0;
  friend bool operator==(const ProcessName&, const ProcessName&) = default;
};

/// What was asked of whom, and what each said: the judge of "every transfer ends exactly once on each side".
/// Pure.
class Book {
 public:
  enum class Side { kSender, kReceiver };
  struct Transfer {
    ProcessName process[2];        // by Side
    bool open[2] = {true, true};   // an end is still to come
    std::string end[2];            // "acked", "refused", "died", ...; "" = none yet
    bool must_be_refused = false;  // it was used before
    TimePoint asked{};
  };

  /// `violated` is told of each invariant that does not hold, in words.
  explicit Book(std::function<void(const std::string&)> violated) : violated_(std::move(violated)) {}

  void Ask(RequestKey key, const Transfer& transfer) { open_[key] = transfer; }
  /// A line of a worker about a transfer: "send-ended 7 1 acked ...". False where it is about none.
  bool OnLine(const ProcessName& from, const std::string& line);
  /// The process is gone; nothing more comes from it.
  void OnDeath(const ProcessName& process);
  /// Called with the side that was refused: the router then cancels the other.
  std::function<void(RequestKey, Side)> on_refused;

  [[nodiscard]] const std::map<RequestKey, Transfer>& Open() const { return open_; }
  /// Ends by side and name, of the transfers that are over.
  [[nodiscard]] const std::map<std::string, std::uint64_t>& Ends() const { return ends_; }
  [[nodiscard]] std::uint64_t Closed() const { return closed_; }
  /// A few transfers that have ended, for asking again.
  [[nodiscard]] const std::vector<std::pair<RequestKey, Transfer>>& Recent() const { return recent_; }

 private:
  void End(RequestKey key, Transfer& transfer, Side side, const std::string& end);
  void CloseIfOver(RequestKey key);

  std::function<void(const std::string&)> violated_;
  std::map<RequestKey, Transfer> open_;
  std::vector<std::pair<RequestKey, Transfer>> recent_;
  std::map<std::string, std::uint64_t> ends_;
  std::uint64_t closed_ = 0;
};

}  // namespace baton::storm
