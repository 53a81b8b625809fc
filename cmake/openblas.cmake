# OpenBLAS as a target. Its package sets variables alone, and their paths must not end in an installed Ebb's files: this
# file is installed too, and finds them anew where Ebb is used.
if(NOT TARGET ebb::openblas)
  add_library(ebb::openblas INTERFACE IMPORTED GLOBAL)
  target_include_directories(ebb::openblas INTERFACE ${OpenBLAS_INCLUDE_DIRS})
  target_link_libraries(ebb::openblas INTERFACE ${OpenBLAS_LIBRARIES})
endif()
