# Folders become targets by their names; adding a file needs no edit here.

# Give the string in variable `name` this prefix, once.
macro(rf_prefixed name prefix)
    if(NOT ${name} MATCHES "^${prefix}")
        string(PREPEND ${name} ${prefix})
    endif()
endmacro()

# Version and commit, in a header that is rewritten only when they change. The file that includes
# it ("build_info.h") is the only one compiled anew after a commit.
function(rf_add_build_info)
    set(command ${CMAKE_COMMAND}
        -DSOURCE=${CMAKE_SOURCE_DIR} -DVERSION=${PROJECT_VERSION}
        -DOUTPUT=${CMAKE_BINARY_DIR}/generated/build_info.h
        -P ${CMAKE_SOURCE_DIR}/cmake/build_info.cmake)
    execute_process(COMMAND ${command}) # now too: tools that read the sources need no build then
    add_custom_target(rf_build_info COMMAND ${command}
        BYPRODUCTS ${CMAKE_BINARY_DIR}/generated/build_info.h
        VERBATIM)
endfunction()

# src/<module>/*.c -> static library rf_<module>, linked to every module before it. main.c of cli
# stays out, so that the rest of cli can be tested. A folder without sources is no module yet.
function(rf_add_modules)
    set(before "")
    foreach(module IN LISTS RF_MODULES)
        file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${module}/*.c
            ${CMAKE_SOURCE_DIR}/src/${module}/*.S)
        list(FILTER sources EXCLUDE REGEX "/cli/main\\.c$")
        if(NOT sources)
            continue()
        endif()
        add_library(rf_${module} STATIC ${sources})
        add_dependencies(rf_${module} rf_build_info)
        if(module STREQUAL server) # the dashboard goes into the program
            target_compile_definitions(rf_server PRIVATE RF_WEB_DIR="${CMAKE_SOURCE_DIR}/web")
            set_source_files_properties(${CMAKE_SOURCE_DIR}/src/server/operate_both.c PROPERTIES
                OBJECT_DEPENDS ${CMAKE_SOURCE_DIR}/web/index.html)
        endif()
        target_link_libraries(rf_${module}
            PUBLIC rf_flags ${before} ${RF_PUBLIC_${module}}
            PRIVATE ${RF_PRIVATE_${module}})
        set(before rf_${module} ${before})
    endforeach()
    if(RF_SANITIZE MATCHES thread AND TARGET rf_engine)
        # The aggregates' callbacks work on states that DuckDB hands from thread to thread by atomics
        # ThreadSanitizer cannot see; it took every byte for a race (and minutes to say so). They
        # share nothing else.
        file(GLOB sources ${CMAKE_SOURCE_DIR}/src/engine/aggregates.c
            ${CMAKE_SOURCE_DIR}/src/engine/exact.c ${CMAKE_SOURCE_DIR}/src/engine/hll.c)
        set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS -fno-sanitize=thread)
    endif()
endfunction()

# The library of the latest module that `file` includes, and what that module alone may see: what it
# must be linked to. So a fuzz target of event does not wait for server to compile.
function(rf_latest_module file out)
    set(latest rf_base)
    file(STRINGS ${file} includes REGEX "^ *# *include *\"")
    foreach(module IN LISTS RF_MODULES)
        if(TARGET rf_${module} AND includes MATCHES "\"${module}/")
            set(latest rf_${module} ${RF_PRIVATE_${module}})
        endif()
    endforeach()
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    set(${out} ${latest} PARENT_SCOPE)
endfunction()

function(rf_add_program)
    if(NOT EXISTS ${CMAKE_SOURCE_DIR}/src/cli/main.c OR RF_FUZZ)
        return()
    endif()
    add_executable(refold ${CMAKE_SOURCE_DIR}/src/cli/main.c)
    target_link_libraries(refold PRIVATE rf_flags rf_cli)
    # For dlopen, which searches the run path of its caller.
    set_target_properties(refold PROPERTIES INSTALL_RPATH "$ORIGIN/../lib/refold")
    install(TARGETS refold RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    install(FILES ${RF_DUCKDB_LIBRARY} DESTINATION lib/refold)
    if(EXISTS ${CMAKE_SOURCE_DIR}/examples)
        install(DIRECTORY ${CMAKE_SOURCE_DIR}/examples DESTINATION ${CMAKE_INSTALL_DATADIR}/refold)
    endif()
endfunction()

# One cmocka program. Fails when it hangs, so that a deadlock is a red test and not a stuck run.
function(rf_add_test name file label)
    if(TARGET ${name})
        message(FATAL_ERROR "two tests are called ${name}: the second is ${file}")
    endif()
    add_executable(${name} ${file})
    target_link_libraries(${name} PRIVATE rf_flags ${ARGN} PkgConfig::RF_cmocka)
    target_compile_definitions(${name} PRIVATE RF_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
        ${CMAKE_BINARY_DIR}/tests/${label})
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT 120
        ENVIRONMENT "REFOLD=${CMAKE_BINARY_DIR}/refold")
endfunction()

# tests/<module>/test_*.c see what <module> sees; tests/fault/*.c what they
# include; tests/fuzz/fuzz_*.c are libFuzzer targets; tests/support/*.c is a library for all of them.
function(rf_add_tests)
    set(support "")
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/support/*.c)
    if(sources AND TARGET rf_base)
        add_library(rf_testsupport STATIC ${sources})
        # Only base: a test of log must not wait for server to compile. What support uses of later
        # modules comes from the test's own list, after it on the linker's line.
        target_link_libraries(rf_testsupport PUBLIC rf_flags rf_base PkgConfig::RF_cmocka)
        target_include_directories(rf_testsupport PUBLIC ${CMAKE_SOURCE_DIR}/tests)
        set(support rf_testsupport)
    endif()

    if(RF_FUZZ)
        file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_*.c)
        foreach(file IN LISTS files)
            get_filename_component(name ${file} NAME_WE)
            add_executable(${name} ${file})
            rf_latest_module(${file} module)
            target_link_libraries(${name} PRIVATE rf_flags ${support} ${module})
            target_link_options(${name} PRIVATE -fsanitize=fuzzer)
            set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
                ${CMAKE_BINARY_DIR}/tests/fuzz)
        endforeach()
        return()
    endif()

    foreach(module IN LISTS RF_MODULES)
        file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${module}/test_*.c)
        if(files AND NOT TARGET rf_${module})
            continue() # its sources are still to come
        endif()
        foreach(file IN LISTS files)
            get_filename_component(name ${file} NAME_WE)
            rf_add_test(${name} ${file} unit ${support} rf_${module} ${RF_PRIVATE_${module}})
        endforeach()
    endforeach()

    # The whole program with a bug put in, which an end-to-end test must catch.
    file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/planted/*.c)
    if(TARGET rf_cli)
        foreach(file IN LISTS files)
            get_filename_component(name ${file} NAME_WE)
            add_executable(planted_${name} ${file})
            target_link_libraries(planted_${name} PRIVATE rf_flags rf_cli)
            set_target_properties(planted_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
                ${CMAKE_BINARY_DIR}/tests/planted)
        endforeach()
    endif()

    file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fault/*.c)
    if(TARGET rf_base)
        foreach(file IN LISTS files)
            get_filename_component(name ${file} NAME_WE)
            rf_prefixed(name test_)
            rf_latest_module(${file} module)
            rf_add_test(${name} ${file} fault ${support} ${module})
        endforeach()
    endif()
endfunction()

# bench/<topic>/<name>.c -> bench_<name>, made by `bench_all` and not by default.
function(rf_add_benches)
    add_custom_target(bench_all)
    file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bench/*/*.c)
    if(NOT TARGET rf_base OR RF_FUZZ)
        return()
    endif()
    foreach(file IN LISTS files)
        get_filename_component(name ${file} NAME_WE)
        rf_prefixed(name bench_)
        add_executable(${name} EXCLUDE_FROM_ALL ${file})
        rf_latest_module(${file} module)
        target_link_libraries(${name} PRIVATE rf_flags ${module} rf_duckdb PkgConfig::RF_curl)
        set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
        add_dependencies(bench_all ${name})
    endforeach()
endfunction()
