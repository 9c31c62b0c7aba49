// llmkit/transport/tls.hpp: https, through OpenSSL, with everything verified.
#pragma once

#include <atomic>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <asio/bind_executor.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/redirect_error.hpp>
#include <asio/ssl.hpp>
#include <asio/write.hpp>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/transport/channel.hpp>
#include <llmkit/transport/tls_error.hpp>

namespace llmkit {

/// How to encrypt, for `http(executor, tls())`. Needs OpenSSL (CMake target `llmkit::tls`).
///
///     auto usual   = llmkit::http(executor, llmkit::tls());
///     auto our_own = llmkit::http(executor, llmkit::tls().ca_file("/etc/our-ca.pem"));
///
/// The server's certificate chain and its name (or IP address) are verified against the system's
/// CAs, or those of SSL_CERT_FILE and SSL_CERT_DIR in the environment. TLS 1.2 at least. Failures
/// are errors of kind `tls` that say which check failed and what to do; a CA file that cannot be
/// read is one of kind `configuration`, at the first call.
class tls {
public:
    tls() = default;

    /// Trusts the CAs of this PEM file, and no others.
    tls& ca_file(std::string path) {
        ca_file_ = std::move(path);
        return *this;
    }
    /// Trusts the CAs of this PEM text, and no others.
    tls& ca_pem(std::string text) {
        ca_pem_ = std::move(text);
        return *this;
    }
    /// Accepts any certificate of anybody: whoever sits on the way can read and change everything,
    /// API keys included. For tests on one machine. Prints a warning, once a process.
    tls& insecure_skip_verification() {
        verify_ = false;
        return *this;
    }

    operator encryption() const;

private:
    std::string ca_file_;
    std::string ca_pem_;
    bool verify_ = true;
};

namespace detail {

/// TLS over one socket. asio's stream reads and writes at once when both run on one strand.
class tls_channel final : public channel {
public:
    tls_channel(asio::ip::tcp::socket& over, asio::ssl::context& with, std::string host)
        : stream_(over, with), host_(std::move(host)) {}

    SSL* native() { return stream_.native_handle(); }

    task<result<void>> handshake() override {
        std::error_code failed;
        co_await stream_.async_handshake(asio::ssl::stream_base::client,
                                         asio::redirect_error(asio::use_awaitable, failed));
        if (!failed) co_return result<void>();
        if (failed == asio::error::operation_aborted) throw_cancelled();
        const bool checked = SSL_get_verify_mode(native()) != SSL_VERIFY_NONE;
        const long verified = checked ? SSL_get_verify_result(native()) : X509_V_OK;
        co_return handshake_error(failed, verified, host_);
    }
    task<std::size_t> read_some(asio::mutable_buffer into, std::error_code& failed) override {
        return stream_.async_read_some(into, asio::redirect_error(asio::use_awaitable, failed));
    }
    void write(const outgoing& what, const executor& caller, write_token done) override {
        asio::async_write(stream_, what, asio::bind_executor(caller, std::move(done)));
    }

private:
    asio::ssl::stream<asio::ip::tcp::socket&> stream_;
    std::string host_;
};

/// One OpenSSL context for all connections of a transport.
class tls_maker final : public channel_maker {
public:
    tls_maker(const std::string& ca_file, const std::string& ca_pem, bool verify)
        : verify_(verify) {
        SSL_CTX* const native = context_.native_handle();
        SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
        SSL_CTX_set_options(native, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
        static constexpr unsigned char protocols[] = "\x08http/1.1";
        SSL_CTX_set_alpn_protos(native, protocols, sizeof protocols - 1);
        SSL_CTX_set_verify(native, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
        verify ? trust(ca_file, ca_pem) : warn();
    }

    result<std::unique_ptr<channel>> make(asio::ip::tcp::socket& over, const std::string& host,
                                          bool host_is_ip) const override {
        if (unusable_) return *unusable_;
        std::string name = host;
        if (name.ends_with('.')) name.pop_back();  // certificates and SNI have no final dot
        auto made = std::make_unique<tls_channel>(over, context_, name);
        SSL* const native = made->native();
        bool ready = true;
        if (!host_is_ip) ready = SSL_set_tlsext_host_name(native, name.c_str()) == 1;
        if (ready && verify_) {
            X509_VERIFY_PARAM* const check = SSL_get0_param(native);
            X509_VERIFY_PARAM_set_hostflags(check, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
            ready = host_is_ip ? X509_VERIFY_PARAM_set1_ip_asc(check, name.c_str()) == 1
                               : X509_VERIFY_PARAM_set1_host(check, name.c_str(), 0) == 1;
        }
        if (!ready) return error(error_kind::tls, "the host name cannot be verified: " + name);
        return std::unique_ptr<channel>(std::move(made));
    }

private:
    void trust(const std::string& ca_file, const std::string& ca_pem) {
        std::error_code failed;
        if (!ca_file.empty()) context_.load_verify_file(ca_file, failed);
        if (failed) return refuse("the CA file " + ca_file + " cannot be used", failed);
        if (!ca_pem.empty()) context_.add_certificate_authority(asio::buffer(ca_pem), failed);
        if (failed) return refuse("the CA text given to tls() is no PEM certificate", failed);
        if (ca_file.empty() && ca_pem.empty()) context_.set_default_verify_paths(failed);
        if (failed) return refuse("the system's CA certificates cannot be read", failed);
    }

    void refuse(const std::string& what, const std::error_code& failed) {
        unusable_ = error(error_kind::configuration, what + " (" + failed.message() + ")")
                        .with_advice("Give tls().ca_file() a readable file of PEM certificates.");
    }
    static void warn() {
        static std::atomic<bool> warned{false};
        if (warned.exchange(true)) return;
        std::fputs(
            "llmkit: WARNING: TLS certificates are not verified (insecure_skip_verification). "
            "Whoever sits on the way can read API keys and change answers.\n",
            stderr);
    }

    mutable asio::ssl::context context_{asio::ssl::context::tls_client};
    bool verify_;
    std::optional<error> unusable_;
};

}  // namespace detail

inline tls::operator encryption() const {
    return encryption(std::make_shared<const detail::tls_maker>(ca_file_, ca_pem_, verify_));
}

}  // namespace llmkit
