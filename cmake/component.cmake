# llmkit_component(): an optional part of llmkit with a dependency of its own. It makes the target
# llmkit::NAME and the option LLMKIT_NAME (AUTO, ON or OFF). components.cmake explains the arguments.
function(llmkit_component name)
    cmake_parse_arguments(arg "" "PACKAGE;VERSION;DEBIAN" "HEADERS;LINK" ${ARGN})
    string(TOUPPER LLMKIT_${name} option)
    set(${option} AUTO CACHE STRING "The component llmkit::${name}: AUTO (if ${arg_PACKAGE} is found), ON or OFF")
    set_property(CACHE ${option} PROPERTY STRINGS AUTO ON OFF)

    set(why "${option} is OFF")
    if(${option} STREQUAL "AUTO" OR ${option})
        find_package(${arg_PACKAGE} ${arg_VERSION} QUIET)
        if(${arg_PACKAGE}_FOUND)
            add_library(llmkit_${name} INTERFACE)
            add_library(llmkit::${name} ALIAS llmkit_${name})
            target_link_libraries(llmkit_${name} INTERFACE llmkit::llmkit ${arg_LINK})
            set_property(GLOBAL APPEND PROPERTY LLMKIT_COMPONENTS llmkit::${name})
            return()
        endif()
        set(why "${arg_PACKAGE} was not found")
        if(NOT ${option} STREQUAL "AUTO")
            message(FATAL_ERROR
                "llmkit: ${option} is ${${option}}, but ${arg_PACKAGE} ${arg_VERSION} was not found.\n"
                "Install it (Debian: apt-get install ${arg_DEBIAN}), or point CMAKE_PREFIX_PATH at it,"
                " or configure with -D${option}=OFF to do without llmkit::${name}.")
        endif()
    endif()
    message(STATUS "llmkit: without llmkit::${name} (${why})")
    set_property(GLOBAL APPEND PROPERTY LLMKIT_ABSENT_HEADERS ${arg_HEADERS})
endfunction()
