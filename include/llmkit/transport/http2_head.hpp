// llmkit/transport/http2_head.hpp: a request's head as HTTP/2 sends it.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <llmkit/detail/http_chars.hpp>
#include <llmkit/transport/concept.hpp>

namespace llmkit::detail {

/// Lists a request's fields for nghttp2, which copies them and writes names in small letters.
class http2_head {
public:
    /// For a request that `write_request_head` has no objection to. Lives until the next one, and as
    /// long as `ask`.
    std::span<const nghttp2_nv> of(const http_request& ask) {
        const url& to = ask.target();
        const std::string& method = ask.method();
        path_ = to.target();
        const auto host = ask.fields().get("host");
        authority_ = host ? trim_blanks(*host) : to.authority();
        names_.clear();
        add(":method", method);
        add(":scheme", to.scheme());
        add(":authority", authority_);
        add(":path", path_);
        for (const auto [name, value] : ask.fields())
            if (!of_a_connection(name, value)) add(name, trim_blanks(value));  // RFC 9113 §8.2.1
        if (!ask.body().empty() || method == "POST" || method == "PUT" || method == "PATCH") {
            length_ = std::to_string(ask.body().size());
            add("content-length", length_);
        }
        return names_;
    }

private:
    void add(std::string_view name, std::string_view value) {
        names_.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
                          reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())),
                          name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
    }
    /// RFC 9113 §8.2.2: fields that mean one HTTP/1.1 connection must not be sent.
    static bool of_a_connection(std::string_view name, std::string_view value) {
        for (const std::string_view no : {"host", "connection", "keep-alive", "proxy-connection",
                                          "transfer-encoding", "upgrade"})
            if (same_ignoring_case(name, no)) return true;
        return same_ignoring_case(name, "te") && !same_ignoring_case(value, "trailers");
    }

    std::vector<nghttp2_nv> names_;
    std::string path_;
    std::string authority_;
    std::string length_;
};

}  // namespace llmkit::detail
