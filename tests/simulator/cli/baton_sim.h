#pragma once

#include <string>
#include <vector>

#include "tests/integration/process.h"

namespace baton::test {

/// Runs baton-sim to its end; output holds stdout and stderr.
inline RunResult BatonSim(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), std::string(BATON_PROGRAMS) + "/baton-sim");
  return RunToEnd(arguments, std::chrono::seconds(200));
}

inline bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace baton::test
