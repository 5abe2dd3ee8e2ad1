#pragma once

#include <string>
#include <utility>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

namespace baton {

/// A shared library that is asked for at run time, since not every machine has it. It stays loaded until the
/// process ends: some have threads that do not end before.
class DynamicLibrary {
 public:
  /// FailedPrecondition with the loader's own words.
  [[nodiscard]] static absl::StatusOr<DynamicLibrary> Open(const std::string& name);

  /// The function, or null where this version has none.
  template <typename Function>
  void FindIfThere(const char* symbol, Function*& function) const {
    function = reinterpret_cast<Function*>(Address(symbol));
  }
  /// The same; FoundAll tells of one that was not there.
  template <typename Function>
  void Find(const char* symbol, Function*& function) {
    FindIfThere(symbol, function);
    if (function == nullptr && missing_.empty()) missing_ = symbol;
  }
  /// FailedPrecondition naming the first function that was looked for in vain.
  [[nodiscard]] absl::Status FoundAll() const;

 private:
  DynamicLibrary(void* handle, std::string name) : handle_(handle), name_(std::move(name)) {}
  [[nodiscard]] void* Address(const char* symbol) const;

  void* handle_;
  std::string name_;
  std::string missing_;
};

}  // namespace baton
