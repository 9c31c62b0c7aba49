# Finds standalone Asio, which ships no CMake package. Defines asio::asio (headers only).
find_path(Asio_INCLUDE_DIR NAMES asio.hpp)
mark_as_advanced(Asio_INCLUDE_DIR)

if(Asio_INCLUDE_DIR AND EXISTS "${Asio_INCLUDE_DIR}/asio/version.hpp")
    file(STRINGS "${Asio_INCLUDE_DIR}/asio/version.hpp" line REGEX "^#define ASIO_VERSION [0-9]+")
    if(line MATCHES "ASIO_VERSION ([0-9]+)")
        math(EXPR major "${CMAKE_MATCH_1} / 100000")
        math(EXPR minor "${CMAKE_MATCH_1} / 100 % 1000")
        math(EXPR patch "${CMAKE_MATCH_1} % 100")
        set(Asio_VERSION ${major}.${minor}.${patch})
    endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Asio REQUIRED_VARS Asio_INCLUDE_DIR VERSION_VAR Asio_VERSION)

if(Asio_FOUND AND NOT TARGET asio::asio)
    add_library(asio::asio INTERFACE IMPORTED)
    target_include_directories(asio::asio SYSTEM INTERFACE "${Asio_INCLUDE_DIR}")
endif()
