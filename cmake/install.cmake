# Installing Ebb: libraries, headers as a user writes them, and the package that find_package(ebb) reads. All paths in
# it are relative, so the installed tree may be moved.
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ebb)

install(TARGETS ebb_engine ebb_io ebb_ops ebb_nn ebb EXPORT ebb ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT ebb NAMESPACE ebb:: FILE ebb-targets.cmake DESTINATION ${package_dir})

foreach(layer engine ops nn)
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/${layer} ${PROJECT_SOURCE_DIR}/${layer}/*.h)
  list(REMOVE_ITEM headers ebb.h)
  foreach(header IN LISTS headers)
    cmake_path(GET header PARENT_PATH folder)
    install(FILES ${PROJECT_SOURCE_DIR}/${layer}/${header}
            DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/ebb/${layer}/${folder})
  endforeach()
endforeach()
install(FILES ${PROJECT_SOURCE_DIR}/nn/ebb.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/ebb)

include(CMakePackageConfigHelpers)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/ebb-config.cmake.in ${PROJECT_BINARY_DIR}/ebb-config.cmake
                              INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/ebb-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/ebb-config.cmake ${PROJECT_BINARY_DIR}/ebb-config-version.cmake
              ${CMAKE_CURRENT_LIST_DIR}/openblas.cmake DESTINATION ${package_dir})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/ebb)
