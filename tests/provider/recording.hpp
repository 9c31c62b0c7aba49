// What real servers sent (tests/recordings), as answers of a scripted transport.
#pragma once

#include <fstream>
#include <iterator>
#include <string>

#include <llmkit/testing/http_answer.hpp>

#include "test.hpp"

/// The bytes as they came over the wire: some files end in a note by the program that took them.
inline std::string recorded_bytes(const std::string& name) {
    std::ifstream file(std::string(LLMKIT_SOURCE_DIR "/tests/recordings/") + name + ".http",
                       std::ios::binary);
    REQUIRE(file.is_open());
    std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const std::size_t note = bytes.rfind("\n[curl rc=");
    if (note != std::string::npos) bytes.resize(note);
    return bytes;
}

inline llmkit::testing::http_answer recorded(const std::string& name) {
    return llmkit::testing::http_answer::raw(recorded_bytes(name));
}

/// The body of a recording whose chunk sizes were not kept.
inline std::string recorded_body(const std::string& name) {
    const std::string bytes = recorded_bytes(name);
    std::size_t end = bytes.find("\r\n\r\n");
    REQUIRE(end != std::string::npos);
    return bytes.substr(end + 4);
}
