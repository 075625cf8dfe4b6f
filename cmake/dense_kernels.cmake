# Dense kernels of others to compare with, each built in where its headers are found. kernels/cuda/dense/dense_kernels.h
# tells what they are for, docs/cuda_kernels.md how to get them.
set(SALEBENCH_CUDNN_FRONTEND_DIR ${PROJECT_SOURCE_DIR}/.deps/cudnn_frontend CACHE PATH
  "cudnn-frontend: the folder with include/cudnn_frontend.h")
set(SALEBENCH_FLASHINFER_DIR ${PROJECT_SOURCE_DIR}/.deps/flashinfer CACHE PATH
  "FlashInfer: the folder with include/flashinfer, cutlass and cccl")
set(SALEBENCH_FA3_DIR "" CACHE PATH "FlashAttention-3: the folder hopper of a checkout that has its csrc/cutlass")

# salebench_add_dense_kernels(TARGET): those that are found become parts of TARGET.
function(salebench_add_dense_kernels target)
  salebench_add_cudnn(${target})
  if(CMAKE_CUDA_ARCHITECTURES MATCHES "90a")
    salebench_add_flashinfer(${target})
    salebench_add_fa3(${target})
  endif()
endfunction()

function(salebench_add_cudnn target)
  find_path(SALEBENCH_CUDNN_INCLUDE_DIR cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS} PATH_SUFFIXES include)
  if(NOT SALEBENCH_CUDNN_INCLUDE_DIR OR NOT EXISTS ${SALEBENCH_CUDNN_FRONTEND_DIR}/include/cudnn_frontend.h)
    return()
  endif()
  message(STATUS "Dense kernel cudnn: ${SALEBENCH_CUDNN_FRONTEND_DIR}")
  set(sources cuda/dense/cudnn_library.cpp cuda/dense/dense_cudnn.cpp cuda/dense/dense_cudnn_fp8.cpp)
  target_sources(${target} PRIVATE ${sources} cuda/dense/tensor_scale.cu)
  set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS
    "-isystem;${SALEBENCH_CUDNN_FRONTEND_DIR}/include;-isystem;${SALEBENCH_CUDNN_INCLUDE_DIR}")
  target_link_libraries(${target} PRIVATE ${CMAKE_DL_LIBS})
  target_compile_definitions(${target} PRIVATE SALEBENCH_HAS_CUDNN)
endfunction()

# salebench_instances(SOURCES PREFIX TYPE...): PREFIX_instance.cu.in made into a file for each type and head_dim.
function(salebench_instances sources prefix)
  foreach(TYPE IN LISTS ARGN)
    foreach(HEAD_DIM 64 128)
      set(file ${CMAKE_CURRENT_BINARY_DIR}/${prefix}_${TYPE}_${HEAD_DIM}.cu)
      configure_file(cuda/dense/${prefix}_instance.cu.in ${file} @ONLY)
      list(APPEND files ${file})
    endforeach()
  endforeach()
  set(${sources} ${files} PARENT_SCOPE)
endfunction()

# salebench_hopper_library(NAME TYPE SOURCE...): CUDA sources for Hopper alone, whose headers warn.
function(salebench_hopper_library name type)
  add_library(${name} ${type} ${ARGN})
  target_link_libraries(${name} PRIVATE salebench_core CUDA::cudart_static)
  set_target_properties(${name} PROPERTIES CUDA_ARCHITECTURES 90a POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${name} PRIVATE
    $<$<COMPILE_LANGUAGE:CUDA>:-w --use_fast_math --expt-relaxed-constexpr --expt-extended-lambda>)
endfunction()

function(salebench_add_flashinfer target)
  set(dir ${SALEBENCH_FLASHINFER_DIR})
  if(NOT EXISTS ${dir}/include/flashinfer/attention/hopper/prefill_sm90.cuh)
    return()
  endif()
  message(STATUS "Dense kernel flashinfer: ${dir}")
  set(version unknown)
  if(EXISTS ${dir}/VERSION)
    file(STRINGS ${dir}/VERSION version LIMIT_COUNT 1)
  endif()
  salebench_instances(instances dense_flashinfer __half __nv_bfloat16)
  salebench_hopper_library(salebench_flashinfer OBJECT cuda/dense/dense_flashinfer.cu ${instances})
  # Its CCCL must be found before that of the CUDA toolkit.
  target_include_directories(salebench_flashinfer SYSTEM PRIVATE ${dir}/cccl/libcudacxx/include ${dir}/cccl/cub
    ${dir}/cccl/thrust ${dir}/include ${dir}/cutlass/include ${dir}/cutlass/tools/util/include)
  target_compile_definitions(salebench_flashinfer PRIVATE SALEBENCH_FLASHINFER_VERSION="${version}")
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:salebench_flashinfer>)
  target_compile_definitions(${target} PRIVATE SALEBENCH_HAS_FLASHINFER)
endfunction()

function(salebench_add_fa3 target)
  set(dir ${SALEBENCH_FA3_DIR})
  if(NOT dir)
    return()
  endif()
  foreach(file flash_fwd_launch_template.h ../csrc/cutlass/include/cutlass/cutlass.h)
    if(NOT EXISTS ${dir}/${file})
      message(FATAL_ERROR "SALEBENCH_FA3_DIR: ${dir}/${file} is not there; "
        "clone github.com/Dao-AILab/flash-attention with --recurse-submodules and name its folder hopper")
    endif()
  endforeach()
  message(STATUS "Dense kernel fa3: ${dir}")
  file(STRINGS ${dir}/__init__.py version REGEX "__version__")
  string(REGEX REPLACE ".*\"(.*)\".*" "\\1" version "${version}")
  if(GIT_FOUND)
    execute_process(COMMAND ${GIT_EXECUTABLE} -C ${dir} rev-parse --short=12 HEAD
      OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
  string(STRIP "${version} ${commit}" version)
  salebench_instances(instances dense_fa3 Fa3Half Fa3Bfloat16)
  salebench_hopper_library(salebench_fa3 SHARED ${instances})
  target_include_directories(salebench_fa3 SYSTEM PRIVATE ${dir} ${dir}/../csrc/cutlass/include)
  set_target_properties(salebench_fa3 PROPERTIES CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
  target_link_options(salebench_fa3 PRIVATE LINKER:--exclude-libs,ALL)
  target_sources(${target} PRIVATE cuda/dense/dense_fa3.cpp)
  set_source_files_properties(cuda/dense/dense_fa3.cpp PROPERTIES COMPILE_DEFINITIONS SALEBENCH_FA3_VERSION="${version}")
  target_link_libraries(${target} PRIVATE salebench_fa3)
  target_compile_definitions(${target} PRIVATE SALEBENCH_HAS_FA3)
endfunction()
