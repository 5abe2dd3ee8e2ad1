#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace baton::router {

/// Finds stop strings in a text that comes in pieces, and holds back whatever may be the beginning of one.
/// What comes out does not depend on how the text was cut. One per answer; not thread-safe.
class StopScanner {
 public:
  /// With `include`, a stop string that is found belongs to the text.
  StopScanner(std::vector<std::string> stops, bool include) : stops_(std::move(stops)), include_(include) {}

  struct Piece {
    std::string text;                 // may be shown
    std::optional<std::string> stop;  // the stop string that ended the answer: nothing after it counts
  };
  /// The stop string whose last byte comes first ends the answer; of several that end together, the longest.
  [[nodiscard]] Piece Push(std::string_view text);
  /// What was held back; the answer ended otherwise.
  [[nodiscard]] std::string Flush();

 private:
  [[nodiscard]] std::size_t HeldBytes() const;

  std::vector<std::string> stops_;
  bool include_;
  std::string held_;
};

}  // namespace baton::router
