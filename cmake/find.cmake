# Dependencies are Debian packages. Where one is missing, the message says which package brings it, since the name
# that CMake knows and the name that apt knows rarely agree.

# ebb_find(<package> <debian package> [find_package arguments...]): find_package, or stop and say what to install.
# A macro, so that the variables of packages that have no targets reach the caller.
macro(ebb_find package debian)
  find_package(${package} QUIET ${ARGN})
  if(NOT ${package}_FOUND)
    message(FATAL_ERROR "Ebb needs ${package}, which was not found. On Debian and Ubuntu it comes with:\n"
                        "  apt install ${debian}\n" "./dev deps installs it and all else that Ebb needs.")
  endif()
endmacro()
