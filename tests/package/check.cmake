# One way of using llmkit from another project, from nothing to a program that runs.
#   HOW is the way; SOURCE, BUILD, COMPILER, COMPILER_ID, GENERATOR come from package.cmake.
cmake_minimum_required(VERSION 3.25)

set(here ${CMAKE_CURRENT_LIST_DIR})
set(work ${BUILD}/package/${HOW})
file(REMOVE_RECURSE ${work})
file(MAKE_DIRECTORY ${work})

function(run)
    execute_process(COMMAND ${ARGN} WORKING_DIRECTORY ${work} COMMAND_ECHO STDOUT
        COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(configure)
    set(${ARGV0} ${CMAKE_COMMAND} -S ${here}/consumer -B ${work}/build -G ${GENERATOR}
        -D CMAKE_CXX_COMPILER=${COMPILER} -D CMAKE_BUILD_TYPE=Debug ${ARGN} PARENT_SCOPE)
endfunction()

function(refused text)
    execute_process(COMMAND ${ARGN} RESULT_VARIABLE failed OUTPUT_VARIABLE out ERROR_VARIABLE out)
    if(NOT failed)
        message(FATAL_ERROR "This should have failed, but did not: ${ARGN}\n${out}")
    endif()
    string(REGEX REPLACE "[ \n]+" " " flat "${out}")  # CMake wraps its messages
    string(FIND "${flat}" "${text}" at)
    if(at EQUAL -1)
        message(FATAL_ERROR "The error should say\n  ${text}\nbut it is\n${out}")
    endif()
endfunction()

function(install_llmkit)
    run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${work}/prefix)
endfunction()

if(HOW STREQUAL "subdirectory")
    configure(command -D LLMKIT_HOW=subdirectory -D LLMKIT_SOURCE=${SOURCE})
    run(${command})
    run(${CMAKE_COMMAND} --build ${work}/build)
    run(${work}/build/consumer)
    if(EXISTS ${work}/build/llmkit/tests)
        message(FATAL_ERROR "llmkit's tests were configured inside somebody else's project")
    endif()

elseif(HOW STREQUAL "installed")
    install_llmkit()
    configure(command -D LLMKIT_HOW=package -D CMAKE_PREFIX_PATH=${work}/prefix)
    run(${command})
    run(${CMAKE_COMMAND} --build ${work}/build)
    run(${work}/build/consumer)

elseif(HOW STREQUAL "plain")
    # The command of docs/install.md, word for word, with this compiler and these paths.
    file(READ ${SOURCE}/docs/install.md page)
    if(NOT page MATCHES "<!-- plain ${COMPILER_ID} -->[ \n]*```sh\n([^`]*)```")
        message(FATAL_ERROR "docs/install.md has no block marked <!-- plain ${COMPILER_ID} -->")
    endif()
    string(REPLACE "\\\n" " " line "${CMAKE_MATCH_1}")
    string(REGEX REPLACE "^ *(g\\+\\+|clang\\+\\+[-0-9]*) " "${COMPILER} " line "${line}")
    string(REPLACE "third_party/llmkit" "${SOURCE}" line "${line}")
    string(REPLACE "main.cpp" "${here}/consumer/main.cpp ${here}/consumer/other.cpp" line "${line}")
    separate_arguments(line UNIX_COMMAND "${line}")
    run(${line})
    run(${work}/main)

elseif(HOW STREQUAL "component_unknown")
    install_llmkit()
    configure(command -D LLMKIT_HOW=package -D CMAKE_PREFIX_PATH=${work}/prefix
        -D LLMKIT_COMPONENTS=telepathy)
    refused("llmkit has no component 'telepathy'. It has: tls" ${command})

elseif(HOW STREQUAL "component_absent")
    install_llmkit()
    configure(command -D LLMKIT_HOW=package -D CMAKE_PREFIX_PATH=${work}/prefix
        -D CMAKE_DISABLE_FIND_PACKAGE_OpenSSL=ON)
    refused("llmkit's component 'tls' needs OpenSSL 1.1.1, which was not found" ${command})

elseif(HOW STREQUAL "component_unavailable")
    configure(command -D LLMKIT_HOW=subdirectory -D LLMKIT_SOURCE=${SOURCE} -D LLMKIT_TLS=ON
        -D CMAKE_DISABLE_FIND_PACKAGE_OpenSSL=ON)
    refused("LLMKIT_TLS is ON, but OpenSSL 1.1.1 was not found" ${command})

elseif(HOW STREQUAL "fetched")
    # Nothing installed: local folders stand in for what would come from the upstreams.
    set(stand_ins "")
    foreach(name IN ITEMS Asio nlohmann_json fmt xxHash)
        string(TOUPPER ${name} upper)
        file(MAKE_DIRECTORY ${work}/upstream/${name})
        list(APPEND stand_ins -D CMAKE_DISABLE_FIND_PACKAGE_${name}=ON
            -D FETCHCONTENT_SOURCE_DIR_${upper}=${work}/upstream/${name})
    endforeach()
    file(MAKE_DIRECTORY ${work}/upstream/Asio/asio/include)
    file(WRITE ${work}/upstream/nlohmann_json/CMakeLists.txt
        "add_library(nlohmann_json INTERFACE)\n"
        "add_library(nlohmann_json::nlohmann_json ALIAS nlohmann_json)\n")
    file(WRITE ${work}/upstream/fmt/CMakeLists.txt
        "add_library(fmt-header-only INTERFACE)\n"
        "target_compile_definitions(fmt-header-only INTERFACE FMT_HEADER_ONLY=1)\n"
        "add_library(fmt::fmt-header-only ALIAS fmt-header-only)\n")
    configure(command -D LLMKIT_HOW=subdirectory -D LLMKIT_SOURCE=${SOURCE} -D LLMKIT_INSTALL=ON
        ${stand_ins})
    execute_process(COMMAND ${command} OUTPUT_VARIABLE out ECHO_OUTPUT_VARIABLE COMMAND_ERROR_IS_FATAL ANY)
    foreach(text IN ITEMS "fetching asio-1-22-1" "fetching v3.11.2" "fetching 9.1.0" "fetching v0.8.1"
            "no install rules")
        if(NOT out MATCHES "${text}")
            message(FATAL_ERROR "configuring should say: ${text}")
        endif()
    endforeach()
    run(${CMAKE_COMMAND} --build ${work}/build)
    run(${work}/build/consumer)

else()
    message(FATAL_ERROR "no such way: ${HOW}")
endif()
