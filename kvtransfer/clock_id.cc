#include "kvtransfer/clock_id.h"

#include <unistd.h>

#include <array>
#include <fstream>
#include <string>

namespace baton::kvtransfer {
namespace {

std::uint64_t Read() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string name;
  std::array<char, 64> space{};
  const ssize_t length = ::readlink("/proc/self/ns/time", space.data(), space.size());
  if (!std::getline(file, name) || length <= 0) return 0;
  name.append(space.data(), static_cast<std::size_t>(length));
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a: the same in every process
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace

std::uint64_t ClockId() {
  static const std::uint64_t id = Read();
  return id;
}

}  // namespace baton::kvtransfer
