# Turns CUDA on where a compiler for it is found and SALEBENCH_CUDA allows it; sets SALEBENCH_HAS_CUDA.
macro(salebench_find_cuda)
  set(SALEBENCH_HAS_CUDA OFF)
  if(SALEBENCH_CUDA)
    include(CheckLanguage)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
      set(CMAKE_CUDA_ARCHITECTURES ${SALEBENCH_CUDA_ARCHITECTURES})
      enable_language(CUDA)
      if(SALEBENCH_CUDA_ARCHITECTURES STREQUAL "native")
        if(NOT CMAKE_CUDA_ARCHITECTURES_NATIVE MATCHES "-real")
          message(FATAL_ERROR "SALEBENCH_CUDA_ARCHITECTURES=native, but this machine has no CUDA device: name one, as 90a")
        endif()
        # What Hopper alone can do needs the code of that very chip.
        string(REPLACE "90-real" "90a-real" CMAKE_CUDA_ARCHITECTURES "${CMAKE_CUDA_ARCHITECTURES_NATIVE}")
      endif()
      find_package(CUDAToolkit REQUIRED)
      set(SALEBENCH_HAS_CUDA ON)
    endif()
  endif()
  message(STATUS "CUDA parts: ${SALEBENCH_HAS_CUDA}")
endmacro()

# salebench_precompile(TARGET HEADER...): headers that take longer to read than most files that include them.
function(salebench_precompile target)
  target_precompile_headers(${target} PRIVATE ${ARGN})
  target_compile_options(${target} PRIVATE $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-fpch-preprocess>)
endfunction()

# salebench_not_hot(TARGET): code that waits for the kernels, which compiles faster with less optimisation.
function(salebench_not_hot target)
  target_compile_options(${target} PRIVATE $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CONFIG:Release>>:-O1>)
endfunction()
