// llmkit/detail/resp_write.hpp: commands as a Redis server reads them.
#pragma once

#include <charconv>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>

namespace llmkit::detail {

inline void resp_append_size(std::string& out, char mark, std::size_t size) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, size).ptr;
    out += mark;
    out.append(digits, end).append("\r\n", 2);
}

/// Appends a command: an array of bulk strings, so that any byte may stand in any word.
///
///     resp_write(out, {"SET", key, value, "PX", "60000"});
template <class Words>
void resp_write_words(std::string& out, const Words& words) {
    std::size_t size = 16;
    for (const std::string_view word : words) size += word.size() + 16;
    if (out.capacity() - out.size() < size) out.reserve(out.size() + size);
    resp_append_size(out, '*', words.size());
    for (const std::string_view word : words) {
        resp_append_size(out, '$', word.size());
        out.append(word).append("\r\n", 2);
    }
}
inline void resp_write(std::string& out, std::initializer_list<std::string_view> words) {
    resp_write_words(out, words);
}
/// The command by itself.
inline std::string resp_command(std::initializer_list<std::string_view> words) {
    std::string out;
    resp_write_words(out, words);
    return out;
}

}  // namespace llmkit::detail
