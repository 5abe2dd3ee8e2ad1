/// What the undefined-behaviour sanitizer is told in every program of the tests and fuzzers: by itself it
/// prints what it has found, and the test passes.
extern "C" const char* __ubsan_default_options();
extern "C" const char* __ubsan_default_options() {
  return "halt_on_error=1:print_stacktrace=1";
}
