# Every library refold uses. scripts/setup gets them; nothing is looked for elsewhere.

set(RF_DEPS ${CMAKE_SOURCE_DIR}/.deps CACHE PATH "where scripts/setup put the pinned files")
set(RF_DUCKDB_LIBRARY ${RF_DEPS}/duckdb/lib/libduckdb.so)

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# name of the library here -> its pkg-config module
foreach(pair uv=libuv isal=libisal xxhash=libxxhash sodium=libsodium crypto=libcrypto
             lz4=liblz4 zstd=libzstd z=zlib yaml=yaml-0.1 curl=libcurl cmocka=cmocka
             pcre2=libpcre2-8)
    string(REGEX MATCH "([^=]+)=(.+)" _ ${pair})
    set(name ${CMAKE_MATCH_1})
    pkg_check_modules(RF_${name} QUIET IMPORTED_TARGET ${CMAKE_MATCH_2})
    if(NOT RF_${name}_FOUND)
        list(APPEND RF_MISSING ${CMAKE_MATCH_2})
    endif()
endforeach()

# xxhash is used by its header alone: nothing to link. (Defined as empty, like a plain #define.)
add_library(rf_xxhash_inline INTERFACE)
target_compile_definitions(rf_xxhash_inline INTERFACE XXH_INLINE_ALL=)

foreach(file /usr/share/llhttp/llhttp.c /usr/share/include/llhttp/llhttp.h
             ${RF_DEPS}/yyjson/yyjson.c ${RF_DEPS}/duckdb/include/duckdb.h ${RF_DUCKDB_LIBRARY})
    if(NOT EXISTS ${file})
        list(APPEND RF_MISSING ${file})
    endif()
endforeach()
if(RF_MISSING)
    list(JOIN RF_MISSING ", " missing)
    message(FATAL_ERROR "missing: ${missing}. Run scripts/setup first.")
endif()

# Compiled in, without our warnings, and optimised even in Debug: a slow parser makes tests slow.
# Under sanitizers they keep the address or thread checks, which see how we use them; UBSan in them
# finds nothing of ours and takes clang 80 s for yyjson alone.
set(RF_THIRD_PARTY_OPTIONS -w -O2)
if(RF_SANITIZE)
    set(RF_THIRD_PARTY_OPTIONS -w -O1 -fno-sanitize=undefined)
endif()

add_library(rf_yyjson STATIC ${RF_DEPS}/yyjson/yyjson.c)
target_include_directories(rf_yyjson SYSTEM PUBLIC ${RF_DEPS}/yyjson)
target_compile_options(rf_yyjson PRIVATE ${RF_THIRD_PARTY_OPTIONS})

# STRICT_MODE: without it a chunk that is not followed by CRLF passes.
file(GLOB llhttp_sources /usr/share/llhttp/*.c)
add_library(rf_llhttp STATIC ${llhttp_sources})
target_include_directories(rf_llhttp SYSTEM PUBLIC /usr/share/include/llhttp)
target_include_directories(rf_llhttp SYSTEM PUBLIC /usr/share/include)
target_compile_definitions(rf_llhttp PUBLIC LLHTTP_STRICT_MODE=1)
target_compile_options(rf_llhttp PRIVATE ${RF_THIRD_PARTY_OPTIONS})

# Header only. The library is opened at run time by src/engine, so that a process which does not
# query (the write half) never maps it.
add_library(rf_duckdb INTERFACE)
target_include_directories(rf_duckdb SYSTEM INTERFACE ${RF_DEPS}/duckdb/include)
target_compile_definitions(rf_duckdb INTERFACE RF_DUCKDB_DEFAULT_PATH="${RF_DUCKDB_LIBRARY}")
target_link_libraries(rf_duckdb INTERFACE ${CMAKE_DL_LIBS})

# What a module hands to those after it...
set(RF_PUBLIC_base Threads::Threads m PkgConfig::RF_isal rf_xxhash_inline PkgConfig::RF_sodium
    PkgConfig::RF_crypto PkgConfig::RF_lz4 PkgConfig::RF_zstd PkgConfig::RF_z PkgConfig::RF_yaml)
set(RF_PUBLIC_event rf_yyjson)
# ...and what only it may include.
set(RF_PRIVATE_schema PkgConfig::RF_pcre2)
set(RF_PRIVATE_engine rf_duckdb)
set(RF_PRIVATE_server PkgConfig::RF_uv rf_llhttp)
set(RF_PRIVATE_cli PkgConfig::RF_curl)
