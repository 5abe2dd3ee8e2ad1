#include "simulator/cli/command.h"

namespace baton::simulator::cli {

void AddAll(CLI::App& app, int& exit_code) {
  AddTrace(app, exit_code);
}

}  // namespace baton::simulator::cli
