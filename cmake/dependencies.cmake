# What llmkit stands on. Each is taken from whoever includes llmkit, else from the system, else from
# its upstream. The download itself is not tested, for it needs the network: the tests put local
# folders in its place. The versions are those of Debian 12, which everything else is tested with.
include(FetchContent)
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)  # or a parent project would not see what we found

# llmkit_need(NAME TARGET DEBIAN_PACKAGE GIT_URL GIT_TAG [HEADERS folder])
#
# Defines TARGET. With HEADERS the upstream has no usable CMakeLists.txt: TARGET is then the folder
# of headers inside it.
function(llmkit_need name target debian url tag)
    cmake_parse_arguments(arg "" "HEADERS" "" ${ARGN})
    if(TARGET ${target})
        return()
    endif()
    find_package(${name} QUIET)
    if(TARGET ${target})
        return()
    endif()
    message(STATUS "llmkit: ${name} is not installed; fetching ${tag} from ${url}"
                   " (Debian: apt-get install ${debian})")
    FetchContent_Declare(${name} GIT_REPOSITORY ${url} GIT_TAG ${tag} GIT_SHALLOW ON)
    FetchContent_MakeAvailable(${name})
    if(DEFINED arg_HEADERS)
        string(TOLOWER ${name} lower)
        add_library(${target} INTERFACE IMPORTED GLOBAL)
        target_include_directories(${target} SYSTEM INTERFACE ${${lower}_SOURCE_DIR}/${arg_HEADERS})
    endif()
    set_property(GLOBAL APPEND PROPERTY LLMKIT_FETCHED ${name})
endfunction()

llmkit_need(Asio asio::asio libasio-dev
            https://github.com/chriskohlhoff/asio.git asio-1-22-1 HEADERS asio/include)
llmkit_need(nlohmann_json nlohmann_json::nlohmann_json nlohmann-json3-dev
            https://github.com/nlohmann/json.git v3.11.2)
llmkit_need(fmt fmt::fmt-header-only libfmt-dev
            https://github.com/fmtlib/fmt.git 9.1.0)
llmkit_need(xxHash xxHash::headers libxxhash-dev
            https://github.com/Cyan4973/xxHash.git v0.8.1 HEADERS .)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
