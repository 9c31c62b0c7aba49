# Programs that must not compile, and what the compiler must say first. A file carries
#     // expect: TEXT
# and the first error must contain TEXT. Where the compilers word it differently, a line
# `// expect (Clang): TEXT` or `// expect (GNU): TEXT` counts for that one.
file(GLOB files CONFIGURE_DEPENDS compile_fail/*.cpp)
llmkit_usable(files ${files})

# The flags of a test, for a compiler that is run by hand.
string(TOUPPER "${CMAKE_BUILD_TYPE}" config)
separate_arguments(flags UNIX_COMMAND "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${config}}")
set(of $<TARGET_PROPERTY:test-core)
set(definitions "${of},COMPILE_DEFINITIONS>")
set(includes "${of},INCLUDE_DIRECTORIES>")
set(options "${of},COMPILE_OPTIONS>")
foreach(file IN LISTS files)
    cmake_path(GET file STEM stem)
    add_test(NAME compile_fail/${stem} COMMAND_EXPAND_LISTS COMMAND
        ${CMAKE_COMMAND} -D SOURCE=${file} -D COMPILER_ID=${CMAKE_CXX_COMPILER_ID}
            -P ${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/check.cmake --
            ${CMAKE_CXX_COMPILER} ${flags} -std=c++20 -fsyntax-only
            "$<$<BOOL:${definitions}>:-D$<JOIN:${definitions},;-D>>"
            "$<$<BOOL:${includes}>:-I$<JOIN:${includes},;-I>>"
            "${options}")
    set_tests_properties(compile_fail/${stem} PROPERTIES LABELS compile_fail TIMEOUT 120)
endforeach()
