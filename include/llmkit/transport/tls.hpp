// llmkit/transport/tls.hpp: https, through OpenSSL, with everything verified.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <llmkit/transport/channel.hpp>
#include <llmkit/transport/tls_context.hpp>

namespace llmkit {

/// How to encrypt, for `http(executor, tls())`. Needs OpenSSL (CMake target `llmkit::tls`).
///
///     auto usual   = llmkit::http(executor, llmkit::tls());
///     auto our_own = llmkit::http(executor, llmkit::tls().ca_file("/etc/our-ca.pem"));
///
/// The server's certificate chain and its name (or IP address) are verified against the system's
/// CAs, or those of SSL_CERT_FILE and SSL_CERT_DIR in the environment. TLS 1.2 at least. Sessions
/// are resumed, within one transport and one host and port. Failures are errors of kind `tls` that
/// say which check failed and what to do; a file that cannot be used is one of kind
/// `configuration`, at the first call.
class tls {
public:
    tls() = default;

    /// Trusts the CAs of this PEM file, and no others.
    tls& ca_file(std::string path) {
        settings_.ca_file = std::move(path);
        return *this;
    }
    /// Trusts the CAs of this PEM text, and no others.
    tls& ca_pem(std::string text) {
        settings_.ca_pem = std::move(text);
        return *this;
    }
    /// Shows this certificate to servers that ask for one, and proves it with its key: two PEM
    /// files, the first with the certificates that lead to the CA if there are any. An encrypted
    /// key is refused.
    tls& client_certificate(std::string certificate_file, std::string key_file) {
        settings_.certificate = std::move(certificate_file);
        settings_.key = std::move(key_file);
        return *this;
    }
    /// Refuses TLS 1.2 as well.
    tls& require_1_3() {
        settings_.oldest = TLS1_3_VERSION;
        return *this;
    }
    /// Accepts any certificate of anybody: whoever sits on the way can read and change everything,
    /// API keys included. For tests on one machine. Prints a warning, once a process.
    tls& insecure_skip_verification() {
        settings_.verify = false;
        return *this;
    }

    operator encryption() const;

private:
    detail::tls_settings settings_;
};

inline tls::operator encryption() const {
    return encryption(std::make_shared<const detail::tls_context>(settings_));
}

}  // namespace llmkit
