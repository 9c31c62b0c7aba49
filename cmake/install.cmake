# cmake --install, and find_package(llmkit CONFIG [COMPONENTS tls]) afterwards.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(fetched GLOBAL PROPERTY LLMKIT_FETCHED)
if(fetched)
    message(STATUS "llmkit: no install rules, because these came from upstream and would not be"
                   " found again: ${fetched}")
    return()
endif()

set(llmkit_package_dir ${CMAKE_INSTALL_DATADIR}/cmake/llmkit)
install(TARGETS llmkit EXPORT llmkit-targets FILE_SET HEADERS)
install(EXPORT llmkit-targets NAMESPACE llmkit:: DESTINATION ${llmkit_package_dir})

configure_package_config_file(cmake/llmkit-config.cmake.in llmkit-config.cmake
    INSTALL_DESTINATION ${llmkit_package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(llmkit-config-version.cmake
    COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES
    ${CMAKE_CURRENT_BINARY_DIR}/llmkit-config.cmake
    ${CMAKE_CURRENT_BINARY_DIR}/llmkit-config-version.cmake
    cmake/components.cmake
    cmake/FindAsio.cmake
    cmake/FindNGHTTP2.cmake
    cmake/FindxxHash.cmake
    cmake/FindZSTD.cmake
    DESTINATION ${llmkit_package_dir})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
