#include "common/daemon/files.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include "common/base/error.h"

namespace baton::daemon {

absl::StatusOr<std::string> ReadClusterKey(const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream in(path, std::ios::binary);
  if (!in) return Error(kNotFound, "cluster_key_file {}: cannot be opened", path);
  std::string key((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  while (!key.empty() && (key.back() == '\n' || key.back() == '\r')) key.pop_back();
  if (key.empty()) return Error(kInvalidArgument, "cluster_key_file {}: is empty", path);
  return key;
}

absl::Status WritePortsFile(const std::string& path, const NamedPorts& ports) {
  if (path.empty()) return absl::OkStatus();
  const std::string draft = path + ".new";
  std::ofstream out(draft, std::ios::trunc);
  std::string text;
  for (const auto& [name, port] : ports)
    text += fmt::format("{}\"{}\":{}", text.empty() ? "" : ",", name, port);
  out << "{" << text << "}\n";
  out.close();
  if (!out.good() || std::rename(draft.c_str(), path.c_str()) != 0) {
    return Error(kUnavailable, "ports_file {}: cannot be written: {}", path, std::strerror(errno));
  }
  return absl::OkStatus();
}

}  // namespace baton::daemon
