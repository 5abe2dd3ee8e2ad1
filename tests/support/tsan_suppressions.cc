/// What the thread sanitizer is told in every test program. Debian's Abseil is not built with it, so the
/// count of references in absl::Status, an atomic inside that library, looks like a race between the last
/// reader and the destructor.
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
  return "race:absl::debian3::Status::Unref\n";
}

/// A test asks for more memory than there is; the answer is to be null, as without the sanitizer.
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() {
  return "allocator_may_return_null=1";
}
