# llmkit::llmkit: the headers, the definitions that every translation unit must share, and nothing
# to link but threads. docs/install.md lists the same flags for builds without CMake.
add_library(llmkit INTERFACE)
add_library(llmkit::llmkit ALIAS llmkit)

file(GLOB_RECURSE llmkit_headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/llmkit/*.hpp)
target_sources(llmkit INTERFACE
    FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${llmkit_headers})

target_compile_features(llmkit INTERFACE cxx_std_20)
target_compile_definitions(llmkit INTERFACE
    ASIO_STANDALONE
    ASIO_NO_DEPRECATED
    ASIO_RECYCLING_ALLOCATOR_CACHE_SIZE=16  # two by default; a call through six layers needs more
    XXH_INLINE_ALL
    # Asio 1.22 looks for the coroutines that Clang had before the standard's.
    $<$<CXX_COMPILER_ID:Clang,AppleClang>:ASIO_HAS_CO_AWAIT=1>)
target_link_libraries(llmkit INTERFACE
    asio::asio nlohmann_json::nlohmann_json fmt::fmt-header-only xxHash::headers Threads::Threads)
