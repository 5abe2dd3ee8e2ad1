#include <unistd.h>

#include <cstdlib>
#include <string>

#include "tests/storm/worker.h"

/// storm_worker ID CHECKSUM SEED, with the parent's channel as descriptor 3. Ends with code 0 when it is told
/// to quit, with 3 when its parent has gone.
int main(int argc, char** argv) {
  if (argc != 4) return 2;
  constexpr int kChannel = 3;
  baton::storm::Worker worker({.id = baton::WorkerId(static_cast<std::uint32_t>(std::stoul(argv[1]))),
                               .checksum = std::string(argv[2]) == "1",
                               .seed = std::stoull(argv[3])},
                              kChannel);
  std::string pending;
  char buffer[4096];
  while (true) {
    const ssize_t count = read(kChannel, buffer, sizeof buffer);
    if (count <= 0) _exit(3);
    pending.append(buffer, static_cast<std::size_t>(count));
    for (std::size_t end = 0; (end = pending.find('\n')) != std::string::npos; pending.erase(0, end + 1)) {
      if (!worker.Command(pending.substr(0, end))) return 0;
    }
  }
}
