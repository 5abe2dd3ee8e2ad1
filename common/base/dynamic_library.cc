#include "common/base/dynamic_library.h"

#include <dlfcn.h>

#include "common/base/error.h"

namespace baton {

absl::StatusOr<DynamicLibrary> DynamicLibrary::Open(const std::string& name) {
  void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return Error(kFailedPrecondition, "cannot load {} ({})", name, dlerror());
  return DynamicLibrary(handle, name);
}

absl::Status DynamicLibrary::FoundAll() const {
  if (missing_.empty()) return absl::OkStatus();
  return Error(kFailedPrecondition, "{} has no {}", name_, missing_);
}

void* DynamicLibrary::Address(const char* symbol) const {
  return dlsym(handle_, symbol);
}

}  // namespace baton
