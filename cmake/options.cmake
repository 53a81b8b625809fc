# The one place that says how Ebb's own code is compiled: every target of the project links ebb_build_options, and
# nothing of it reaches a user's code.
add_library(ebb_build_options INTERFACE)
target_compile_features(ebb_build_options INTERFACE cxx_std_20)

# A constructor's parameters may bear the names of a plain struct's members, which GCC's full -Wshadow forbids and
# Clang's does not.
set(shadow $<IF:$<CXX_COMPILER_ID:GNU>,-Wshadow=local,-Wshadow>)

# Contraction stays off: a * b + c must round the same way with every compiler, so an FMA exists only where a row says
# so. Release keeps line tables, for profilers and readable backtraces.
target_compile_options(
  ebb_build_options INTERFACE -Wall -Wextra -Wpedantic ${shadow} $<$<BOOL:${EBB_WERROR}>:-Werror> -ffp-contract=off
                              $<$<CONFIG:Release>:-g1>)

# GCC 12 sees an overlapping copy in every `"text" + std::string` that it inlines (GCC bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(ebb_build_options INTERFACE -Wno-restrict)
endif()

# Source locations name a file below the project, wherever it was built: nothing of the build machine gets into a library.
target_compile_options(ebb_build_options INTERFACE -fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=)

if(EBB_SANITIZE)
  set(sanitize -fsanitize=${EBB_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_options(ebb_build_options INTERFACE ${sanitize})
  target_link_options(ebb_build_options INTERFACE ${sanitize})
endif()
