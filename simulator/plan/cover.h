#pragma once

#include <vector>

/// The small exact covering problem under a fleet: which machines of several types together serve a rate.
namespace baton::simulator {

struct CoverItem {
  double capacity = 0;  // requests/s that one serves under the objectives; 0 or less: never chosen
  double price = 0;     // what is minimised: dollars an hour, watts, or 1; above 0
  int most = 1 << 20;
};

struct Cover {
  std::vector<int> counts;  // of each item
  double price = 0;
};

/// The up to `how_many` cheapest ways to cover `rate`, cheapest first; ties by fewer machines, then by
/// counts. A cover with a machine too many is none. Exact, by depth-first branch and bound over the items in
/// order of price for capacity.
[[nodiscard]] std::vector<Cover> CheapestCovers(const std::vector<CoverItem>& items, double rate,
                                                int how_many);

}  // namespace baton::simulator
