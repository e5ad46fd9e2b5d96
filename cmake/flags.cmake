# Flags of refold's own code; third-party code gets its own in third_party.cmake.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON) # gnu17
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
# A static library compiles without waiting for those it will be linked with: faster, and one broken
# module does not hide the errors of the next.
set(CMAKE_OPTIMIZE_DEPENDENCIES ON)

# No NDEBUG anywhere: asserts stay on in release. -O1 in Debug and not -Og, with which gcc
# warns of variables that are never uninitialised.
set(CMAKE_C_FLAGS_DEBUG "-O1 -g")
set(CMAKE_C_FLAGS_RELEASE "-O2 -g")

add_library(rf_flags INTERFACE)
target_include_directories(rf_flags INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR}/generated)
target_compile_definitions(rf_flags INTERFACE _GNU_SOURCE)
target_compile_options(rf_flags INTERFACE
    -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings
    -Wformat=2 -Wvla -Wpointer-arith
    -include ${CMAKE_SOURCE_DIR}/src/base/banned.h
    -fno-omit-frame-pointer -fstack-protector-strong -fstack-clash-protection -fPIE)
target_link_options(rf_flags INTERFACE
    -pie -Wl,-z,relro,-z,now -Wl,--as-needed)

# glibc checks lengths only in optimised code, and the sanitizers do it better.
if(NOT RF_SANITIZE AND NOT RF_FUZZ)
    target_compile_definitions(rf_flags INTERFACE $<$<CONFIG:Release>:_FORTIFY_SOURCE=2>)
endif()

if(RF_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID STREQUAL Clang)
        message(FATAL_ERROR "RF_FUZZ needs clang: -DCMAKE_C_COMPILER=clang-14")
    endif()
    set(RF_SANITIZE address,undefined)
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(RF_SANITIZE)
    # For all code, third-party sources too. A finding ends the program: nobody reads past it.
    add_compile_options(-fsanitize=${RF_SANITIZE} -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${RF_SANITIZE})
    # DuckDB, opened later, throws C++ exceptions, and the sanitizers look for __cxa_throw once, at
    # start: libstdc++ must be there by then. (They keep the link from being dropped as unneeded.)
    add_link_options(-Wl,--no-as-needed -l:libstdc++.so.6)
endif()
if(RF_COVERAGE)
    target_compile_options(rf_flags INTERFACE --coverage -O0)
    target_link_options(rf_flags INTERFACE --coverage)
endif()
