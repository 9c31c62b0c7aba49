// llmkit/transport/tls_error.hpp: why a TLS handshake failed, and what to do about it.
#pragma once

#include <string>
#include <string_view>
#include <system_error>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <llmkit/core/error.hpp>

namespace llmkit::detail {

/// The error for a certificate that was not accepted; `code` is one of OpenSSL's X509_V_ERR_….
inline error certificate_error(long code, std::string_view host) {
    const auto say = [](std::string what, std::string_view advice) {
        return error(error_kind::tls, std::move(what)).with_advice(std::string(advice));
    };
    constexpr std::string_view trust =
        "If you trust this server, give its CA's certificate: tls().ca_file(\"ca.pem\"), or "
        "SSL_CERT_FILE in the environment.";
    switch (code) {
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
            return say(fmt::format("the server's certificate is not for {}", host),
                       "Use the host name that the certificate was issued for, or mend the "
                       "certificate.");
        case X509_V_ERR_CERT_HAS_EXPIRED:
            return say(fmt::format("the certificate of {} has expired", host),
                       "Renew it on the server; if it is good, check this machine's clock.");
        case X509_V_ERR_CERT_NOT_YET_VALID:
            return say(fmt::format("the certificate of {} is not valid yet", host),
                       "Check this machine's clock, or the certificate's dates.");
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
            return say(fmt::format("the certificate of {} is self-signed", host), trust);
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
            return say(
                fmt::format("the certificate of {} comes from a CA that is not trusted here", host),
                trust);
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
            return say(fmt::format("no trusted CA is known for the certificate of {}", host),
                       "Install the machine's CA certificates (Debian: apt-get install "
                       "ca-certificates), or give the server's own: tls().ca_file(\"ca.pem\").");
        default:
            return say(fmt::format("the certificate of {} was not accepted: {}", host,
                                   X509_verify_cert_error_string(code)),
                       advice(error_kind::tls));
    }
}

/// OpenSSL's errors as error codes, so that they may come out of a read.
class tls_category final : public std::error_category {
public:
    static constexpr int truncated = -1;  // no error of OpenSSL's

    const char* name() const noexcept override { return "tls"; }
    std::string message(int code) const override {
        if (code == truncated) return "the connection ended without TLS's saying so";
        const char* const known = ERR_reason_error_string(static_cast<unsigned long>(code));
        return known ? known : fmt::format("TLS error {:#x}", static_cast<unsigned>(code));
    }
};

inline const tls_category& tls_errors() {
    static const tls_category one;
    return one;
}
/// One of OpenSSL's error numbers; 0, when it had none to give, counts as an internal one.
inline std::error_code tls_code(unsigned long code) {
    if (code == 0) code = ERR_PACK(ERR_LIB_SSL, 0, ERR_R_INTERNAL_ERROR);
    return {static_cast<int>(code), tls_errors()};
}

/// The error for a handshake that failed: with OpenSSL's error number, or 0 when the connection
/// ended.
inline error handshake_error(unsigned long code, long verified, std::string_view host) {
    if (verified != X509_V_OK) return certificate_error(verified, host);
    if (code == 0)
        return error(error_kind::tls, fmt::format("{} closed the connection during the TLS "
                                                  "handshake",
                                                  host))
            .with_advice("Check the port, and whether the server expects a client certificate.");
    switch (ERR_GET_REASON(code)) {
        case SSL_R_WRONG_VERSION_NUMBER:
        case SSL_R_PACKET_LENGTH_TOO_LONG:
            return error(error_kind::tls, fmt::format("{} does not speak TLS on this port", host))
                .with_advice("Check the port, and whether the URL should begin with http://.");
        case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        case SSL_R_UNSUPPORTED_PROTOCOL:
            return error(error_kind::tls,
                         fmt::format("{} offers no TLS version that is allowed here", host))
                .with_advice(
                    "Have the server updated: before 1.2 TLS is not secure, and with "
                    "tls().require_1_3() it must speak 1.3.");
        default:
            return error(error_kind::tls, fmt::format("the TLS handshake with {} failed: {}", host,
                                                      tls_code(code).message()));
    }
}

}  // namespace llmkit::detail
