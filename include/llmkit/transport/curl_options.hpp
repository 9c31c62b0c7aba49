// llmkit/transport/curl_options.hpp: what a libcurl transport may use, and how it connects.
#pragma once

#include <curl/curl.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>

#include <llmkit/core/provenance.hpp>

namespace llmkit {

/// Bounds of a `curl` transport. A request may ask for less.
///
/// Trivially destructible, so it is safe in `co_await` expressions with g++ 12 as well.
struct curl_policy {
    std::size_t max_connections = 100;  ///< open at once, to all hosts together, at least 1
    std::size_t max_per_host = 100;     ///< of these, to one host, at least 1
    std::size_t max_queued = 10'000;    ///< calls waiting for a connection; one more is `refused`
    /// How long a connection without a call is used again; rounded up to seconds.
    duration idle_timeout = std::chrono::seconds(30);

    duration connect = std::chrono::seconds(5);    ///< address, connection, TLS handshake together
    duration first_event = duration::max();        ///< from sending to the answer's head
    duration idle = duration::max();               ///< between two pieces of the body
    duration total = std::chrono::minutes(10);     ///< everything, waiting in the queue included
    std::size_t max_head = 64 * 1024;              ///< bytes of the answer's head
    std::uint64_t max_body = 64ULL * 1024 * 1024;  ///< bytes of the answer's body
};
static_assert(std::is_trivially_destructible_v<curl_policy>);

/// Which HTTP a `curl` transport speaks.
enum class curl_version : std::uint8_t {
    automatic,              ///< https: HTTP/2 if the server offers it; http: HTTP/1.1
    http1,                  ///< HTTP/1.1 only
    http2_prior_knowledge,  ///< HTTP/2 without asking, in clear as well
    http3,                  ///< HTTP/3 first; `configuration` where this libcurl cannot
};

/// Everything that `curl` can be told, in one place. What is left out has the default.
///
///     auto transport = llmkit::curl(executor, llmkit::curl_options()
///                                                 .ca_file("/etc/our-ca.pem")
///                                                 .proxy("http://proxy.example:3128"));
class curl_options {
public:
    curl_options() {}

    /// Bounds of connections, waiting, time and sizes.
    curl_options& policy(const curl_policy& bounds) { return policy_ = bounds, *this; }
    curl_options& version(curl_version which) { return version_ = which, *this; }
    /// Trusts the CAs of this PEM file, and no others.
    curl_options& ca_file(std::string path) { return ca_file_ = std::move(path), *this; }
    /// Trusts the CAs of this PEM text, and no others.
    curl_options& ca_pem(std::string text) { return ca_pem_ = std::move(text), *this; }
    /// Accepts any certificate of anybody: whoever sits on the way can read and change everything,
    /// API keys included. For tests on one machine. Prints a warning.
    curl_options& insecure_skip_verification() {
        std::fputs(
            "llmkit: WARNING: TLS certificates are not verified (insecure_skip_verification). "
            "Whoever sits on the way can read API keys and change answers.\n",
            stderr);
        return verify_ = false, *this;
    }
    /// As libcurl's CURLOPT_PROXY takes it, socks5h:// included. Without it libcurl reads
    /// http_proxy, https_proxy, all_proxy and no_proxy in the environment; empty means none.
    curl_options& proxy(std::string url) {
        proxy_ = std::move(url);
        return proxy_set_ = true, *this;
    }
    /// Called with each handle, whose request is not yet set, for what libcurl can do beside. On
    /// any thread, several at once. What the transport itself relies on, it sets afterwards.
    ///
    ///     options.configure([](CURL* one) { curl_easy_setopt(one, CURLOPT_INTERFACE, "eth1"); });
    curl_options& configure(std::function<void(CURL*)> what) {
        return configure_ = std::move(what), *this;
    }

    const curl_policy& policy() const { return policy_; }
    curl_version version() const { return version_; }

    /// Puts all but the bounds on a handle; what libcurl answered to the first it refused.
    CURLcode apply(CURL* to) const {
        if (configure_) configure_(to);
        CURLcode failed = CURLE_OK;
        const auto set = [&failed, to](CURLoption option, auto value) {
            const CURLcode now = ::curl_easy_setopt(to, option, value);
            if (failed == CURLE_OK) failed = now;
        };
        set(CURLOPT_HTTP_VERSION, wanted_version());
        set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
        set(CURLOPT_SSL_VERIFYPEER, verify_ ? 1L : 0L);
        set(CURLOPT_SSL_VERIFYHOST, verify_ ? 2L : 0L);
        if (!ca_file_.empty()) set(CURLOPT_CAINFO, ca_file_.c_str());
        if (!ca_file_.empty() || !ca_pem_.empty())
            set(CURLOPT_CAPATH, static_cast<const char*>(nullptr));
        if (!ca_pem_.empty()) {
            curl_blob text{};
            text.data = const_cast<char*>(ca_pem_.data());
            text.len = ca_pem_.size();
            text.flags = CURL_BLOB_COPY;
            set(CURLOPT_CAINFO_BLOB, &text);
        }
        if (proxy_set_) set(CURLOPT_PROXY, proxy_.c_str());
        return failed;
    }

private:
    long wanted_version() const {
        switch (version_) {
            case curl_version::http1:
                return CURL_HTTP_VERSION_1_1;
            case curl_version::http2_prior_knowledge:
                return CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
            case curl_version::http3:
                return CURL_HTTP_VERSION_3;
            case curl_version::automatic:
                break;
        }
        return CURL_HTTP_VERSION_2TLS;
    }

    curl_policy policy_;
    curl_version version_ = curl_version::automatic;
    std::string ca_file_, ca_pem_, proxy_;
    bool proxy_set_ = false;
    bool verify_ = true;
    std::function<void(CURL*)> configure_;
};

}  // namespace llmkit
