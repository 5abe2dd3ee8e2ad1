#pragma once

#include <optional>
#include <string>
#include <string_view>

/// The command line that every daemon has.
namespace baton::daemon {

/// Exit codes of every daemon. 78 is EX_CONFIG of sysexits.h: systemd is told not to restart on it.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitConfig = 78;

struct Program {
  std::string name;      // "baton-router"
  std::string summary;   // one sentence
  std::string examples;  // shown below the options, a line each
};

struct Options {
  std::string config_path;
  bool check_config = false;  // report every error of the file and exit
};

/// What the command line asks for: to run with `options`, or to exit with `exit_code` after `output` has been
/// printed (on stderr where the code is not 0).
struct CommandLine {
  std::optional<Options> options = {};
  int exit_code = kExitOk;
  std::string output = {};
};

/// Reads --config FILE, --check-config, --help and --version.
[[nodiscard]] CommandLine ParseCommandLine(const Program& program, int argc, const char* const* argv);

/// For a main: prints and exits where the command line does not ask to run.
[[nodiscard]] Options ParseOrExit(const Program& program, int argc, const char* const* argv);

/// The version of this build, "0.1.0".
[[nodiscard]] std::string_view Version();

}  // namespace baton::daemon
