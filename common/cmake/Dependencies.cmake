# Every third-party library enters here and nowhere else. All are Debian 12 packages (deploy/packages.txt).
find_package(Threads REQUIRED)
find_package(absl CONFIG REQUIRED)
find_package(fmt CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json)
find_package(OpenSSL REQUIRED)
find_package(Protobuf REQUIRED)
find_package(yaml-cpp 0.7 CONFIG REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)  # its config file carries no version
find_package(ucx CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)

find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)

if(NOT TARGET yaml-cpp::yaml-cpp)  # 0.7 exports it without a namespace, 0.8 with one
  add_library(yaml-cpp::yaml-cpp ALIAS yaml-cpp)
endif()
if(BATON_TESTS)
  find_package(Catch2 2.13 CONFIG REQUIRED)
endif()
if(BATON_PERF)
  find_package(benchmark CONFIG REQUIRED)
endif()

include(Cuda)
