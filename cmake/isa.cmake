# Sources compiled once per instruction set. Each object sees EBB_ISA, the name of its set, which is also the
# namespace its symbols live in; the set in force is chosen at run time (engine/lanes/isa.h). All of the project's code
# sees EBB_HAS_ISA_<set>=1 for each set that is compiled in, and may call into the namespaces of those alone.
# On other processors than x86-64 all sets are the baseline under three names.
set(EBB_ISA_SETS base avx2 avx512)
set(EBB_ISA_FLAGS_base "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(EBB_ISA_FLAGS_avx2 -mavx2 -mfma)
  set(EBB_ISA_FLAGS_avx512 -mavx2 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512cd -mprefer-vector-width=512)
endif()

list(TRANSFORM EBB_ISA_SETS REPLACE "(.+)" "EBB_HAS_ISA_\\1=1" OUTPUT_VARIABLE isa_definitions)
target_compile_definitions(ebb_build_options INTERFACE ${isa_definitions})

# ebb_isa_sources(<target> <file>...): adds each file to the target once per instruction set. Debug and sanitizer builds
# optimise these files too, and so does a project around Ebb that names no build type: packs are layers of small
# functions, without inlining tests would take minutes, and GCC has some intrinsics only where it optimises.
function(ebb_isa_sources target)
  foreach(file IN LISTS ARGN)
    cmake_path(ABSOLUTE_PATH file)
    cmake_path(RELATIVE_PATH file BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE stem)
    string(REGEX REPLACE "[/.]" "_" stem ${stem})
    foreach(isa IN LISTS EBB_ISA_SETS)
      set(object ebb_${stem}_${isa})
      add_library(${object} OBJECT ${file})
      target_link_libraries(${object} PRIVATE ebb_build_options $<TARGET_PROPERTY:${target},LINK_LIBRARIES>)
      target_include_directories(${object} PRIVATE $<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>)
      target_compile_options(${object} PRIVATE $<$<NOT:$<CONFIG:Release,RelWithDebInfo,MinSizeRel>>:-O2>
                             ${EBB_ISA_FLAGS_${isa}} -fwrapv)  # elements that are integers wrap around
      # GCC 12 takes the deliberately undefined registers of its AVX-512 intrinsics for mistakes (GCC bug 105593).
      target_compile_options(${object} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized;-Wno-maybe-uninitialized>)
      target_compile_definitions(${object} PRIVATE EBB_ISA=${isa} EBB_ISA_${isa}=1)
      target_sources(${target} PRIVATE $<TARGET_OBJECTS:${object}>)
    endforeach()
  endforeach()
endfunction()
