# What every target is compiled with. Warnings are errors; floating point is never contracted, since
# equal bits across paths (docs/ARCHITECTURE.md, section 1) depend on the operations being the written ones.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

add_library(baton_options INTERFACE)
target_compile_options(baton_options INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wno-missing-field-initializers -Werror
  -ffp-contract=off -fno-fast-math
  -fstack-protector-strong -fcf-protection)
target_compile_definitions(baton_options INTERFACE _GLIBCXX_ASSERTIONS)
target_link_options(baton_options INTERFACE -Wl,-z,relro,-z,now)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(baton_options INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
if(BATON_SANITIZE)
  # fuzzer-no-link instruments code for libFuzzer; each fuzz target links the driver itself.
  target_compile_options(baton_options INTERFACE -fsanitize=${BATON_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(baton_options INTERFACE -fsanitize=${BATON_SANITIZE})
  # g++ 12 sees uninitialised members of std::variant, and overruns of arrays, in instrumented code where there are none.
  target_compile_options(baton_options INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>
    $<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds> $<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overflow>)
endif()
target_include_directories(baton_options INTERFACE ${PROJECT_SOURCE_DIR})
