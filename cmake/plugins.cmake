# What lets shared libraries add methods to the program; harness/support/plugins.h loads them, docs/plugins.md builds one.

# The headers that they may include: those without HDF5, JSON and Highway, which the program keeps to itself.
file(GLOB SALEBENCH_PLUGIN_HEADERS CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}
  ${PROJECT_SOURCE_DIR}/core/*.h ${PROJECT_SOURCE_DIR}/kernels/cpu/*.h ${PROJECT_SOURCE_DIR}/methods/shared/*.h)
list(FILTER SALEBENCH_PLUGIN_HEADERS EXCLUDE REGEX "/(atomic_file|cell|hdf5.*|json_text|.*-inl)\\.h$")

set(SALEBENCH_ABI_ID ${PROJECT_BINARY_DIR}/plugin_abi/core/abi_id.h)
list(TRANSFORM SALEBENCH_PLUGIN_HEADERS PREPEND ${PROJECT_SOURCE_DIR}/ OUTPUT_VARIABLE headers)
add_custom_command(OUTPUT ${SALEBENCH_ABI_ID} VERBATIM DEPENDS ${headers} ${CMAKE_CURRENT_LIST_DIR}/abi_id.cmake
  COMMAND ${CMAKE_COMMAND} -DROOT=${PROJECT_SOURCE_DIR} "-DHEADERS=${SALEBENCH_PLUGIN_HEADERS}"
          -DVERSION=${PROJECT_VERSION} -DOUTPUT=${SALEBENCH_ABI_ID} -P ${CMAKE_CURRENT_LIST_DIR}/abi_id.cmake)
add_custom_target(salebench_abi_id DEPENDS ${SALEBENCH_ABI_ID})

# salebench_host_plugins(TARGET): a program whose plugins may call whatever their headers declare, used by it or not.
function(salebench_host_plugins target)
  set_target_properties(${target} PROPERTIES ENABLE_EXPORTS ON)
  # As objects: of an archive only what the program itself needs would be linked.
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:salebench_core> $<TARGET_OBJECTS:salebench_kernels>)
endfunction()
