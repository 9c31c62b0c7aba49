# Finds xxHash's header. Defines xxHash::headers: llmkit compiles it inline and links no library.
find_path(xxHash_INCLUDE_DIR NAMES xxhash.h)
mark_as_advanced(xxHash_INCLUDE_DIR)

if(xxHash_INCLUDE_DIR)
    set(xxHash_VERSION "")
    foreach(part IN ITEMS MAJOR MINOR RELEASE)
        file(STRINGS "${xxHash_INCLUDE_DIR}/xxhash.h" line
             REGEX "^#define XXH_VERSION_${part} +[0-9]+")
        string(REGEX MATCH "[0-9]+$" number "${line}")
        list(APPEND xxHash_VERSION ${number})
    endforeach()
    list(JOIN xxHash_VERSION . xxHash_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(xxHash REQUIRED_VARS xxHash_INCLUDE_DIR VERSION_VAR xxHash_VERSION)

if(xxHash_FOUND AND NOT TARGET xxHash::headers)
    add_library(xxHash::headers INTERFACE IMPORTED)
    target_include_directories(xxHash::headers SYSTEM INTERFACE "${xxHash_INCLUDE_DIR}")
endif()
