#pragma once

#include <string>

#include <absl/status/statusor.h>

namespace baton::kvtransfer::ucx {

/// A UCX worker address as it travels in HELLO: "ucx1", the crc32c of the rest in little-endian, the address.
/// UCX 1.13 fails an assertion, and the process with it, on bytes that are no address of its own: another
/// transport's address, or a spoilt one, must not come so far.
[[nodiscard]] std::string SealAddress(const std::string& address);
/// InvalidArgument where `sealed` was not made by SealAddress.
[[nodiscard]] absl::StatusOr<std::string> OpenAddress(const std::string& sealed);

}  // namespace baton::kvtransfer::ucx
