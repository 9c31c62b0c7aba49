# Does a project that uses llmkit build? Each way that docs/install.md names is tried.
function(llmkit_package_test name)
    add_test(NAME package/${name} COMMAND ${CMAKE_COMMAND}
        -D HOW=${name}
        -D SOURCE=${PROJECT_SOURCE_DIR}
        -D BUILD=${PROJECT_BINARY_DIR}
        -D COMPILER=${CMAKE_CXX_COMPILER}
        -D COMPILER_ID=${CMAKE_CXX_COMPILER_ID}
        -D GENERATOR=${CMAKE_GENERATOR}
        -P ${CMAKE_CURRENT_SOURCE_DIR}/package/check.cmake)
    set_tests_properties(package/${name} PROPERTIES LABELS package TIMEOUT 300)
endfunction()

llmkit_package_test(component_unavailable)
if(TARGET llmkit::tls)  # the consumer uses it
    llmkit_package_test(subdirectory)
    llmkit_package_test(plain)
    llmkit_package_test(fetched)
    if(LLMKIT_INSTALL)
        llmkit_package_test(installed)
        llmkit_package_test(component_unknown)
        llmkit_package_test(component_absent)
    endif()
endif()
