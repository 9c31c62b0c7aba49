// llmkit/detail/resp_write.hpp: commands as a Redis server reads them.
#pragma once

#include <charconv>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

namespace llmkit::detail {

/// A word of a command: a text or a whole number.
template <class W>
concept resp_word = std::convertible_to<const W&, std::string_view> || std::integral<W>;

inline void resp_append_size(std::string& out, char mark, std::size_t size) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, size).ptr;
    out += mark;
    out.append(digits, end).append("\r\n", 2);
}
inline void resp_append(std::string& out, std::string_view word) {
    resp_append_size(out, '$', word.size());
    out.append(word).append("\r\n", 2);
}
template <std::integral Number>
void resp_append(std::string& out, Number number) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    resp_append(out, std::string_view(digits, static_cast<std::size_t>(end - digits)));
}

/// A command: an array of bulk strings, so that any byte may stand in any word.
///
///     resp_command("SET", key, value, "PX", 60'000)
template <resp_word... Words>
std::string resp_command(const Words&... words) {
    const auto size = [](const auto& word) -> std::size_t {
        if constexpr (std::integral<std::remove_cvref_t<decltype(word)>>) {
            return 32;
        } else {
            return std::string_view(word).size() + 16;
        }
    };
    std::string out;
    out.reserve((std::size_t{16} + ... + size(words)));
    resp_append_size(out, '*', sizeof...(words));
    (resp_append(out, words), ...);
    return out;
}

/// The same for words that are in a container.
template <class Words>
std::string resp_command_of(const Words& words) {
    std::string out;
    resp_append_size(out, '*', words.size());
    for (const std::string_view word : words) resp_append(out, word);
    return out;
}

}  // namespace llmkit::detail
