#include "simulator/cli/command.h"

namespace baton::simulator::cli {

void AddAll(CLI::App& app, int& exit_code) {
  AddSimulate(app, exit_code);
  AddCompare(app, exit_code);
  AddRecommend(app, exit_code);
  AddExplain(app, exit_code);
  AddSweep(app, exit_code);
  AddPaper(app, exit_code);
  AddPolicies(app, exit_code);
  AddExport(app, exit_code);
  AddCalibrate(app, exit_code);
  AddTrace(app, exit_code);
  AddReplay(app, exit_code);
}

}  // namespace baton::simulator::cli
