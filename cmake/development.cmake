# What makes work on llmkit itself quick and strict. Projects that include llmkit see none of it.
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release)
endif()

set(CMAKE_CXX_EXTENSIONS OFF)

find_program(LLMKIT_CCACHE ccache)
if(LLMKIT_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    # With the compiler's list of dependencies it need not preprocess.
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_DEPEND=1 ${LLMKIT_CCACHE})
endif()

find_program(LLMKIT_MOLD mold)
find_program(LLMKIT_LLD NAMES ld.lld)
if(LLMKIT_MOLD)
    add_link_options(-fuse-ld=mold)
elseif(LLMKIT_LLD)
    add_link_options(-fuse-ld=lld)
endif()

set(LLMKIT_SANITIZE "" CACHE STRING "A sanitizer for everything built here: address, thread, …")
if(LLMKIT_SANITIZE)
    add_compile_options(-fsanitize=${LLMKIT_SANITIZE} -fno-omit-frame-pointer -g1)
    add_link_options(-fsanitize=${LLMKIT_SANITIZE})
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        # Both are wrong about our code: optional members, and the fences inside Asio.
        add_compile_options(-Wno-maybe-uninitialized)
        if(LLMKIT_SANITIZE MATCHES "thread")
            add_compile_options(-Wno-tsan)
        endif()
    endif()
endif()
