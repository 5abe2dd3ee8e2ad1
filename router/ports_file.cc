#include "router/ports_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include <fmt/format.h>

#include "common/base/error.h"

namespace baton::router {

absl::Status WritePortsFile(const std::string& path, const Router::Ports& ports) {
  if (path.empty()) return absl::OkStatus();
  const std::string draft = path + ".new";
  std::ofstream out(draft, std::ios::trunc);
  out << fmt::format("{{\"http\":{},\"control\":{},\"metrics\":{}}}\n", ports.http, ports.control,
                     ports.metrics);
  out.close();
  if (!out.good() || std::rename(draft.c_str(), path.c_str()) != 0) {
    return Error(kUnavailable, "ports_file {}: cannot be written: {}", path, std::strerror(errno));
  }
  return absl::OkStatus();
}

}  // namespace baton::router
