# Dependencies are Debian packages. Where one is missing, the message says which package brings it, since the name
# that CMake knows and the name that apt knows rarely agree.

# ebb_find(<package> <debian package> [find_package arguments...]): find_package, or stop and say what to install.
# A macro, so that the variables of packages that have no targets reach the caller.
# A target ${package}::${package} that the project around Ebb has brought along is taken as it is.
macro(ebb_find package debian)
  if(NOT TARGET ${package}::${package})
    find_package(${package} QUIET ${ARGN})
  endif()
  if(NOT ${package}_FOUND AND NOT TARGET ${package}::${package})
    message(FATAL_ERROR "Ebb needs ${package}, which was not found. On Debian and Ubuntu it comes with:\n"
                        "  apt install ${debian}\n" "./dev deps installs it and all else that Ebb needs.")
  endif()
endmacro()
