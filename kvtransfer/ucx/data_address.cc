#include "kvtransfer/ucx/data_address.h"

#include <cstdint>
#include <span>
#include <string_view>

#include "common/base/crc32c.h"
#include "common/base/error.h"

namespace baton::kvtransfer::ucx {
namespace {

constexpr std::string_view kMagic = "ucx1";
constexpr std::size_t kSealBytes = 8;           // magic and checksum
constexpr std::size_t kAddressBytesMax = 4096;  // 108 for TCP, 215 for all that one host has

std::string Checksum(std::string_view address) {
  const std::uint32_t crc = Crc32c(std::as_bytes(std::span(address.data(), address.size())));
  std::string bytes;
  for (unsigned shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>((crc >> shift) & 0xff));
  return bytes;
}

}  // namespace

std::string SealAddress(const std::string& address) {
  return std::string(kMagic) + Checksum(address) + address;
}

absl::StatusOr<std::string> OpenAddress(const std::string& sealed) {
  if (sealed.size() <= kSealBytes || sealed.size() > kSealBytes + kAddressBytesMax ||
      !sealed.starts_with(kMagic)) {
    return Error(
        kInvalidArgument,
        "a data address of {} bytes is none of a worker over UCX; is transfer.transport alike on both?",
        sealed.size());
  }
  const std::string address = sealed.substr(kSealBytes);
  if (sealed.substr(kMagic.size(), kSealBytes - kMagic.size()) != Checksum(address))
    return Error(kInvalidArgument, "a data address of {} bytes is spoilt: its checksum differs",
                 sealed.size());
  return address;
}

}  // namespace baton::kvtransfer::ucx
