# What tests, examples, benchmarks and fuzz targets share.

# Our own code is built with these warnings; CMAKE_COMPILE_WARNING_AS_ERROR (set by the presets)
# makes them errors.
add_library(llmkit_program INTERFACE)
get_property(components GLOBAL PROPERTY LLMKIT_COMPONENTS)
target_link_libraries(llmkit_program INTERFACE llmkit::llmkit ${components})
target_compile_options(llmkit_program INTERFACE
    -Wall -Wextra -Wpedantic -Wconversion -Wshadow)

# llmkit_usable(LIST file...): those sources whose optional headers can be used in this build.
function(llmkit_usable list)
    get_property(absent GLOBAL PROPERTY LLMKIT_ABSENT_HEADERS)
    set(usable "")
    foreach(file IN LISTS ARGN)
        set(missing "")
        foreach(header IN LISTS absent)
            file(STRINGS ${file} line REGEX "^ *# *include *[<\"]llmkit/${header}[>\"]")
            if(line)
                set(missing ${header})
            endif()
        endforeach()
        if(missing)
            file(RELATIVE_PATH name ${PROJECT_SOURCE_DIR} ${file})
            message(STATUS "llmkit: skipping ${name}, which needs ${missing}")
        else()
            list(APPEND usable ${file})
        endif()
    endforeach()
    set(${list} ${usable} PARENT_SCOPE)
endfunction()
