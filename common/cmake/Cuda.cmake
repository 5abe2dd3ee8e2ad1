# CUDA and NCCL: found where they are, never required. Sets BATON_HAVE_CUDA and gives cuda_object() and baton_cuda_runtime.
# nvcc is called by itself rather than as a language of CMake's: CMake 3.25 knows neither CUDA 13's architectures nor its C++20,
# stops in FindCUDAToolkit over a library that is gone, and tries compilers at each configuration. One source needs it.
set(BATON_HAVE_CUDA FALSE)
if(BATON_CUDA STREQUAL "OFF")
  message(STATUS "CUDA: off (BATON_CUDA=OFF)")
  return()
endif()
find_program(BATON_NVCC nvcc HINTS /usr/local/cuda/bin ENV CUDA_HOME PATH_SUFFIXES bin)
if(NOT BATON_NVCC)
  if(BATON_CUDA STREQUAL "ON")
    message(FATAL_ERROR "BATON_CUDA=ON, but no nvcc is on PATH, in /usr/local/cuda/bin or in $CUDA_HOME/bin")
  endif()
  message(STATUS "CUDA: not found; the CPU backend is built alone")
  return()
endif()
file(REAL_PATH ${BATON_NVCC} nvcc_path)
get_filename_component(BATON_CUDA_HOME ${nvcc_path} DIRECTORY)
get_filename_component(BATON_CUDA_HOME ${BATON_CUDA_HOME} DIRECTORY)
find_path(BATON_CUDA_INCLUDE cuda_runtime_api.h HINTS ${BATON_CUDA_HOME}/include ${BATON_CUDA_HOME}/targets/x86_64-linux/include)
find_library(BATON_CUDART_STATIC cudart_static HINTS ${BATON_CUDA_HOME}/lib64 ${BATON_CUDA_HOME}/lib
  ${BATON_CUDA_HOME}/targets/x86_64-linux/lib)
if(NOT BATON_CUDA_INCLUDE OR NOT BATON_CUDART_STATIC)
  if(BATON_CUDA STREQUAL "ON")
    message(FATAL_ERROR "BATON_CUDA=ON, but ${BATON_NVCC} has no cuda_runtime_api.h or libcudart_static.a beside it")
  endif()
  message(STATUS "CUDA: ${BATON_NVCC} has no headers or no libcudart_static.a beside it; the CPU backend is built alone")
  return()
endif()
set(BATON_HAVE_CUDA TRUE)
set(BATON_CUDA_ARCHITECTURES "80;90" CACHE STRING "Architectures that device code is compiled for")
message(STATUS "CUDA: ${BATON_NVCC}, device code for ${BATON_CUDA_ARCHITECTURES}")

# The runtime, static: a binary starts on a machine without a driver.
add_library(baton_cuda_runtime INTERFACE)
target_include_directories(baton_cuda_runtime SYSTEM INTERFACE ${BATON_CUDA_INCLUDE})
target_link_libraries(baton_cuda_runtime INTERFACE ${BATON_CUDART_STATIC} Threads::Threads ${CMAKE_DL_LIBS} rt)

# cuda_object(SOURCE RESULT): compiles a .cu of the current folder; RESULT is the object file, for a module's SOURCES. Warnings
# are errors, and products are contracted only where the source says so (docs/ARCHITECTURE.md, section 1).
function(cuda_object source result)
  get_filename_component(stem ${source} NAME_WE)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${stem}.cu.o)
  set(architectures "")
  foreach(architecture IN LISTS BATON_CUDA_ARCHITECTURES)
    list(APPEND architectures -gencode arch=compute_${architecture},code=sm_${architecture})
  endforeach()
  list(GET BATON_CUDA_ARCHITECTURES -1 newest)
  list(APPEND architectures -gencode arch=compute_${newest},code=compute_${newest})  # for devices that are newer
  add_custom_command(OUTPUT ${object}
    COMMAND ${CCACHE} ${BATON_NVCC} -std=c++20 -O3 -fmad=false -Werror all-warnings -ccbin ${CMAKE_CXX_COMPILER}
      -Xcompiler=-Wall,-Wextra,-Werror,-fPIC,-fstack-protector-strong ${architectures} --threads 2
      -I${PROJECT_SOURCE_DIR} -MD -MF ${object}.d -c ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${object}
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${source} DEPFILE ${object}.d
    COMMENT "Compiling device code ${source}" VERBATIM)
  set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  set(${result} ${object} PARENT_SCOPE)
endfunction()

# NCCL and cuBLASLt are loaded at run time: a build needs their headers alone. Sets BATON_HAVE_NCCL and BATON_HAVE_CUBLASLT.
foreach(pair IN ITEMS "NCCL nccl.h" "CUBLASLT cublasLt.h")
  separate_arguments(pair)
  list(GET pair 0 name)
  list(GET pair 1 header)
  find_path(BATON_${name}_INCLUDE ${header} HINTS ENV NCCL_HOME ${BATON_CUDA_INCLUDE} PATH_SUFFIXES include)
  if(BATON_${name}_INCLUDE)
    set(BATON_HAVE_${name} TRUE)
    target_include_directories(baton_cuda_runtime SYSTEM INTERFACE ${BATON_${name}_INCLUDE})
  else()
    set(BATON_HAVE_${name} FALSE)
  endif()
  message(STATUS "${name}: ${BATON_${name}_INCLUDE}")
endforeach()
