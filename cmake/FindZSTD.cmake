# Finds zstd, also where its CMake package is not there. Defines ZSTD::ZSTD.
find_path(ZSTD_INCLUDE_DIR NAMES zstd.h)
find_library(ZSTD_LIBRARY NAMES zstd)
mark_as_advanced(ZSTD_INCLUDE_DIR ZSTD_LIBRARY)

if(ZSTD_INCLUDE_DIR AND EXISTS "${ZSTD_INCLUDE_DIR}/zstd.h")
    set(ZSTD_VERSION "")
    foreach(part IN ITEMS MAJOR MINOR RELEASE)
        file(STRINGS "${ZSTD_INCLUDE_DIR}/zstd.h" line REGEX "^#define ZSTD_VERSION_${part} +[0-9]+")
        string(REGEX MATCH "[0-9]+" number "${line}")
        string(APPEND ZSTD_VERSION ".${number}")
    endforeach()
    string(SUBSTRING "${ZSTD_VERSION}" 1 -1 ZSTD_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(ZSTD REQUIRED_VARS ZSTD_LIBRARY ZSTD_INCLUDE_DIR
                                  VERSION_VAR ZSTD_VERSION)

if(ZSTD_FOUND AND NOT TARGET ZSTD::ZSTD)
    add_library(ZSTD::ZSTD UNKNOWN IMPORTED)
    set_target_properties(ZSTD::ZSTD PROPERTIES
        IMPORTED_LOCATION "${ZSTD_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${ZSTD_INCLUDE_DIR}")
endif()
