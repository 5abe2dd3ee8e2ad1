#include "tests/kernels/rank_cases.h"

namespace baton::kernels {

std::vector<RankCase> RankCases() {
  std::vector<RankCase> cases = {{"in process", [](int ranks) {
                                    return Ranks{{}, CreateInProcessCommunicators(ranks)};
                                  }}};
  for (RankCase& one : NcclCases(true)) cases.push_back(std::move(one));
  return cases;
}

}  // namespace baton::kernels
