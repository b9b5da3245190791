# Faulty variants of the servers: each has one fault, compiled in by a define, that scenarios and checks must notice.
#
# mutant(PROGRAM FAULT) builds PROGRAM with -DMUTANT_FAULT as build/PRESET/mutants/FAULT/PROGRAM. The code of a fault
# stands in the program beside what is right: `#ifdef MUTANT_FAULT`. Only a program's own sources can have faults.
function(mutant program fault)
    if(NOT MUTANTS)
        return()
    endif()
    get_target_property(sources ${program} SOURCES)
    get_target_property(libraries ${program} LINK_LIBRARIES)
    set(name ${program}.${fault})
    add_executable(${name} ${sources})
    target_link_libraries(${name} PRIVATE ${libraries})
    target_compile_definitions(${name} PRIVATE MUTANT_${fault})
    set_target_properties(${name} PROPERTIES
        OUTPUT_NAME ${program}
        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/mutants/${fault})
endfunction()

# One line per fault: program, fault, what it does wrong.
mutant(echo_poll SHORT_WRITE) # takes what write(2) took for all that there was
