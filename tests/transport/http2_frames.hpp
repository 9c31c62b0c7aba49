// HTTP/2 byte by byte, for peers that break its rules.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "raw_server.hpp"

namespace llmkit_test {

enum frame_type : unsigned {
    data_frame,
    headers_frame,
    priority_frame,
    reset_frame,
    settings_frame,
    promise_frame,
    ping_frame,
    goaway_frame,
    window_frame,
    continuation_frame,
};
inline constexpr unsigned end_stream = 1, ack = 1, end_headers = 4;

inline std::string number(std::uint64_t value, int bytes) {
    std::string out;
    for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i) & 0xff);
    return out;
}
inline std::string frame(unsigned type, unsigned flags, std::uint32_t stream,
                         std::string_view payload = {}) {
    return number(static_cast<std::uint32_t>(payload.size()), 3) + number(type, 1) +
           number(flags, 1) + number(stream, 4) + std::string(payload);
}
/// A field of a head, neither compressed nor remembered. At most 126 bytes each.
inline std::string field(std::string_view name, std::string_view value) {
    return std::string(1, '\0') + number(static_cast<std::uint32_t>(name.size()), 1) +
           std::string(name) + number(static_cast<std::uint32_t>(value.size()), 1) +
           std::string(value);
}
inline std::string status(int code) { return field(":status", std::to_string(code)); }
inline std::string whole_answer(std::uint32_t stream, std::string_view body) {
    return frame(headers_frame, end_headers, stream, status(200)) +
           frame(data_frame, end_stream, stream, body);
}

/// What a peer says as soon as a request is there: its settings, then `text`.
inline raw_server::script says(std::string text, bool then_closes = false) {
    return [text, then_closes](std::shared_ptr<peer> client, std::size_t) -> llmkit::task<void> {
        co_await client->send(frame(settings_frame, 0, 0));
        co_await client->more();
        co_await client->send(text);
        if (then_closes) client->socket().shutdown(asio::socket_base::shutdown_send);
        co_await client->gone();
    };
}

}  // namespace llmkit_test
