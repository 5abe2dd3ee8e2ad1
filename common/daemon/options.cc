#include "common/daemon/options.h"

#include <cstdio>
#include <cstdlib>
#include <sstream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

namespace baton::daemon {

std::string_view Version() {
  return BATON_VERSION;
}

CommandLine ParseCommandLine(const Program& program, int argc, const char* const* argv) {
  Options options;
  CLI::App app(program.summary, program.name);
  app.set_version_flag("--version", fmt::format("{} {}", program.name, Version()));
  app.add_option("--config", options.config_path, "The YAML file with all settings.")
      ->type_name("FILE")
      ->required();
  app.add_flag("--check-config", options.check_config,
               "Report every error of the file and exit; 78 where there is one.");
  app.footer(program.examples.empty() ? "" : "Examples:\n" + program.examples);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& stop) {  // also the way of --help and --version
    std::ostringstream out;
    std::ostringstream errors;
    const bool asked = app.exit(stop, out, errors) == 0;
    return {.exit_code = asked ? kExitOk : kExitUsage, .output = asked ? out.str() : errors.str()};
  }
  return {.options = std::move(options)};
}

Options ParseOrExit(const Program& program, int argc, const char* const* argv) {
  const CommandLine line = ParseCommandLine(program, argc, argv);
  if (line.options) return *line.options;
  std::fputs(line.output.c_str(), line.exit_code == kExitOk ? stdout : stderr);
  std::exit(line.exit_code);
}

}  // namespace baton::daemon
