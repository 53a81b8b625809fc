# A layer is one folder and one static library. Its sources are found, not listed, so that adding a file is adding a
# file; those named lanes.cpp or *_lanes.cpp hold kernels and are compiled once per instruction set.

# ebb_layer(<name> [EXCEPT <folder>...]): the target ebb_<name>, known to users as ebb::<name>, from every source below
# this folder but those of the folders that are layers of their own.
function(ebb_layer name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" EXCEPT)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  foreach(folder IN LISTS arg_EXCEPT)
    list(FILTER sources EXCLUDE REGEX "^${CMAKE_CURRENT_SOURCE_DIR}/${folder}/")
  endforeach()
  set(lanes ${sources})
  list(FILTER lanes INCLUDE REGEX "[/_]lanes\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "[/_]lanes\\.cpp$")
  if(NOT sources)  # A library cannot be empty, a layer can.
    set(sources ${CMAKE_CURRENT_BINARY_DIR}/empty.cpp)
    file(CONFIGURE OUTPUT ${sources} CONTENT "")
  endif()

  add_library(ebb_${name} STATIC ${sources})
  add_library(ebb::${name} ALIAS ebb_${name})
  set_target_properties(ebb_${name} PROPERTIES EXPORT_NAME ${name})
  target_compile_features(ebb_${name} PUBLIC cxx_std_20)
  target_include_directories(ebb_${name} PUBLIC $<BUILD_INTERFACE:${EBB_INCLUDE_DIR}>
                                                $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  # xsimd is headers alone, and private to the kernels; its Debian target would link a library that is not installed.
  target_include_directories(ebb_${name} SYSTEM PRIVATE $<TARGET_PROPERTY:xsimd,INTERFACE_INCLUDE_DIRECTORIES>)
  target_link_libraries(ebb_${name} PRIVATE $<BUILD_INTERFACE:ebb_build_options> fmt::fmt)
  ebb_isa_sources(ebb_${name} ${lanes})
endfunction()
