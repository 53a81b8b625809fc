# Sources compiled once per instruction set. Each object sees EBB_ISA, the name of its set, which is also the
# namespace its symbols live in; the set in force is chosen at run time (engine/lanes/isa.h).
include(CheckCXXCompilerFlag)

set(EBB_ISA_SETS base)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND EBB_ISA_SETS avx2 avx512)
endif()
set(EBB_ISA_FLAGS_base "")
set(EBB_ISA_FLAGS_avx2 -mavx2 -mfma)
set(EBB_ISA_FLAGS_avx512 -mavx2 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512cd -mprefer-vector-width=512)

# ebb_isa_sources(<target> <file>...): adds each file to the target once per instruction set.
function(ebb_isa_sources target)
  foreach(isa IN LISTS EBB_ISA_SETS)
    foreach(file IN LISTS ARGN)
      get_filename_component(stem ${file} NAME_WE)
      set(object ${target}_${stem}_${isa})
      add_library(${object} OBJECT ${file})
      target_link_libraries(${object} PRIVATE ebb_build_options)
      target_include_directories(${object} PRIVATE $<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>)
      target_compile_options(${object} PRIVATE ${EBB_ISA_FLAGS_${isa}})
      target_compile_definitions(${object} PRIVATE EBB_ISA=${isa} EBB_ISA_${isa}=1)
      set_target_properties(${object} PROPERTIES POSITION_INDEPENDENT_CODE ON)
      target_sources(${target} PRIVATE $<TARGET_OBJECTS:${object}>)
    endforeach()
  endforeach()
endfunction()
