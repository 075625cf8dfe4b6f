# `cmake --install` and `cpack`. Nothing that is installed knows where it was built: data are found beside the config that
# names them, the program by PATH, the CMake package by its own place.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/salebench)
set(include_dir ${CMAKE_INSTALL_INCLUDEDIR}/salebench)
set(share_dir ${CMAKE_INSTALL_DATADIR}/salebench)

add_library(salebench_headers INTERFACE)
set_target_properties(salebench_headers PROPERTIES EXPORT_NAME headers)
target_include_directories(salebench_headers INTERFACE $<INSTALL_INTERFACE:${include_dir}>)
target_compile_features(salebench_headers INTERFACE cxx_std_20)
set_target_properties(salebench PROPERTIES EXPORT_NAME program)
install(TARGETS salebench salebench_headers EXPORT salebenchTargets)
if(TARGET salebench_fa3)
  set_target_properties(salebench PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}/salebench")
  install(TARGETS salebench_fa3 LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/salebench)
endif()
install(EXPORT salebenchTargets NAMESPACE salebench:: DESTINATION ${package_dir})
configure_package_config_file(cmake/salebenchConfig.cmake.in ${PROJECT_BINARY_DIR}/salebenchConfig.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/salebenchConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/salebenchConfig.cmake ${PROJECT_BINARY_DIR}/salebenchConfigVersion.cmake
  cmake/plugin_abi.cpp DESTINATION ${package_dir})

foreach(header IN LISTS SALEBENCH_PLUGIN_HEADERS)
  get_filename_component(folder ${header} DIRECTORY)
  install(FILES ${header} DESTINATION ${include_dir}/${folder})
endforeach()
install(FILES ${SALEBENCH_ABI_ID} DESTINATION ${include_dir}/core)

# Configs name their data by ../datasets.
install(DIRECTORY configs DESTINATION ${share_dir} FILES_MATCHING PATTERN "*.yaml")
install(DIRECTORY datasets/samples DESTINATION ${share_dir}/datasets)
file(GLOB python CONFIGURE_DEPENDS results/*.py datasets/*.py)
install(FILES ${python} DESTINATION ${share_dir}/python)
# What the program says of its own command line, for man and for shells.
set(words ${PROJECT_BINARY_DIR}/words)
install(FILES ${words}/salebench.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${words}/salebench DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${words}/_salebench DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
install(FILES ${words}/salebench.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES README.md CHANGELOG.md CITATION.cff DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME salebench)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY ${PROJECT_DESCRIPTION})
set(CPACK_PACKAGE_VENDOR "SALEbench developers")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)  # plugins need only the dynamic symbols
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "SALEbench developers <salebench@example.org>")
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR})
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "g++, cmake, python3-pandas, python3-h5py")
if(PROJECT_IS_TOP_LEVEL)
  include(CPack)
endif()
