// llmkit/transport/curl_error.hpp: what ended a libcurl transfer, in llmkit's words.
#pragma once

#include <curl/curl.h>

#include <string>
#include <string_view>

#include <fmt/format.h>

#include <llmkit/core/error.hpp>
#include <llmkit/core/timed_out.hpp>
#include <llmkit/detail/http1_error.hpp>

namespace llmkit::detail {

/// The kind of error that a result of libcurl is; `started` when the answer's head was there.
inline error_kind kind_of_curl(CURLcode code, bool started, std::string_view text) {
    switch (code) {
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_RESOLVE_PROXY:
            return error_kind::resolve;
        case CURLE_COULDNT_CONNECT:
        case CURLE_INTERFACE_FAILED:
        case CURLE_PROXY:
            return error_kind::connect;
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CIPHER:
        case CURLE_SSL_ISSUER_ERROR:
        case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
        case CURLE_SSL_INVALIDCERTSTATUS:
        case CURLE_SSL_CLIENTCERT:
        case CURLE_USE_SSL_FAILED:
            return error_kind::tls;
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_ENGINE_NOTFOUND:
        case CURLE_UNKNOWN_OPTION:
        case CURLE_NOT_BUILT_IN:
        case CURLE_BAD_FUNCTION_ARGUMENT:
            return error_kind::configuration;
        case CURLE_OPERATION_TIMEDOUT:
            return error_kind::timeout;
        case CURLE_PARTIAL_FILE:
            return error_kind::truncated;
        case CURLE_OUT_OF_MEMORY:  // what 7.88 says of a header over 100 KiB
        case CURLE_FILESIZE_EXCEEDED:
            return started ? error_kind::internal : error_kind::too_large;
        case CURLE_RECV_ERROR:
            if (text.find("chunk") != std::string_view::npos) return error_kind::protocol;
            return error_kind::connection_lost;
        case CURLE_OK:  // although something is missing
        case CURLE_SEND_ERROR:
        case CURLE_GOT_NOTHING:
        case CURLE_HTTP2_STREAM:
        case CURLE_QUIC_CONNECT_ERROR:
            return error_kind::connection_lost;
        default:
            return error_kind::protocol;
    }
}

/// The error for it. `text` is what libcurl wrote beside the code, which may quote the peer's
/// bytes; it is shown only where it tells of names, addresses and certificates.
inline error curl_failure(CURLcode code, bool started, std::string_view text) {
    // These quote the proxy's URL, with the password in it.
    if (text.starts_with("Unsupported proxy"))
        return error(error_kind::configuration, "libcurl cannot use the URL of the proxy")
            .with_advice(
                "Write it like http://user:password@host:3128, in curl_options::proxy or in the "
                "environment (https_proxy, http_proxy, all_proxy).");
    const error_kind kind = kind_of_curl(code, started, text);
    const bool telling = kind == error_kind::resolve || kind == error_kind::connect ||
                         kind == error_kind::tls || kind == error_kind::configuration;
    if (telling && !text.empty()) return error(kind, std::string(text));
    if (kind == error_kind::truncated)
        return error(kind, std::string(describe(http1_error::truncated)));
    if (kind == error_kind::too_large)
        return error(kind, std::string(describe(http1_error::line_too_long)));
    if (kind == error_kind::connection_lost)
        return error(kind,
                     fmt::format("the connection ended {} ({})",
                                 started ? "in the middle of the answer" : "without an answer",
                                 ::curl_easy_strerror(code)));
    return error(kind, ::curl_easy_strerror(code));
}

/// The error for a head that is not what HTTP allows.
inline error curl_head_failure(http1_error why) {
    switch (why) {
        case http1_error::line_too_long:
        case http1_error::head_too_large:
        case http1_error::too_many_fields:
            return error(error_kind::too_large, std::string(describe(why)));
        default:
            return error(error_kind::protocol, std::string(describe(why)));
    }
}

inline error curl_body_too_large(std::uint64_t most) {
    return error(error_kind::too_large,
                 fmt::format("the answer's body is larger than the limit of {} bytes", most))
        .with_advice("Raise curl_policy::max_body or the request's max_body if this is expected.");
}

inline error curl_timeout(std::string what, std::string code) {
    return error(error_kind::timeout, std::move(what)).with_code(std::move(code));
}

}  // namespace llmkit::detail
