// llmkit/transport/tls_context.hpp: what all TLS connections of a transport share.
#pragma once

#include <atomic>
#include <cstdio>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <llmkit/core/result.hpp>
#include <llmkit/transport/channel.hpp>
#include <llmkit/transport/tls_channel.hpp>
#include <llmkit/transport/tls_error.hpp>
#include <llmkit/transport/tls_sessions.hpp>

namespace llmkit::detail {

/// What `tls()` was told.
struct tls_settings {
    std::string ca_file;
    std::string ca_pem;
    std::string certificate;
    std::string key;
    int oldest = TLS1_2_VERSION;
    bool verify = true;
};

struct ssl_context_deleter {
    void operator()(SSL_CTX* one) const { SSL_CTX_free(one); }
};

/// One OpenSSL context for all connections of a transport. What is wrong with the settings is told
/// at the first call, as an error.
class tls_context final : public channel_maker {
public:
    explicit tls_context(const tls_settings& wanted)
        : shared_(SSL_CTX_new(TLS_client_method())), verify_(wanted.verify) {
        if (!shared_) throw std::bad_alloc();
        SSL_CTX_set_min_proto_version(shared_.get(), wanted.oldest);
        SSL_CTX_set_options(shared_.get(), SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
        SSL_CTX_set_verify(shared_.get(), verify_ ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
        SSL_CTX_set_session_cache_mode(shared_.get(),
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(shared_.get(), &tls_channel::offered);
        ERR_clear_error();
        verify_ ? trust(wanted) : warn();
        if (!wanted.certificate.empty()) identify(wanted.certificate, wanted.key);
    }

    result<std::unique_ptr<channel>> make(const channel_peer& with) const override {
        if (unusable_) return *unusable_;
        std::string name(with.host);
        if (name.ends_with('.')) name.pop_back();  // certificates and SNI have no final dot
        ssl_owner one(SSL_new(shared_.get()));
        if (!one) throw std::bad_alloc();
        if (!expect(one.get(), name, with.host_is_ip))
            return error(error_kind::tls, "the host name cannot be verified: " + name);
        offer(one.get(), with.protocols);
        // Sessions go only where they came from: what was verified once is not verified again.
        std::string peer = name + ':' + std::to_string(with.port);
        if (const auto known = sessions_->take(peer)) SSL_set_session(one.get(), known.get());
        return std::unique_ptr<channel>(std::make_unique<tls_channel>(
            std::move(one), std::move(name), std::move(peer), sessions_));
    }

private:
    bool expect(SSL* one, const std::string& name, bool is_ip) const {
        if (!is_ip && SSL_set_tlsext_host_name(one, name.c_str()) != 1) return false;
        if (!verify_) return true;
        X509_VERIFY_PARAM* const check = SSL_get0_param(one);
        X509_VERIFY_PARAM_set_hostflags(check, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        return is_ip ? X509_VERIFY_PARAM_set1_ip_asc(check, name.c_str()) == 1
                     : X509_VERIFY_PARAM_set1_host(check, name.c_str(), 0) == 1;
    }
    // RFC 7301, section 3.1: each name with its length before it.
    static void offer(SSL* one, std::span<const std::string_view> protocols) {
        std::string names;
        for (const auto protocol : protocols) {
            names += static_cast<char>(protocol.size());
            names += protocol;
        }
        SSL_set_alpn_protos(one, reinterpret_cast<const unsigned char*>(names.data()),
                            static_cast<unsigned>(names.size()));
    }

    void trust(const tls_settings& wanted) {
        SSL_CTX* const into = shared_.get();
        if (!wanted.ca_file.empty() &&
            SSL_CTX_load_verify_locations(into, wanted.ca_file.c_str(), nullptr) != 1)
            return refuse("the CA file " + wanted.ca_file + " cannot be used", give_pem);
        if (!wanted.ca_pem.empty() && !add_pem(wanted.ca_pem))
            return refuse("the CA text given to tls() is no PEM certificate", give_pem);
        if (wanted.ca_file.empty() && wanted.ca_pem.empty() &&
            SSL_CTX_set_default_verify_paths(into) != 1)
            return refuse("the system's CA certificates cannot be read", give_pem);
    }
    bool add_pem(const std::string& text) {
        const std::unique_ptr<BIO, decltype(&BIO_free)> in(
            BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free);
        std::size_t count = 0;
        for (; X509* const one = PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr); ++count) {
            X509_STORE_add_cert(SSL_CTX_get_cert_store(shared_.get()), one);
            X509_free(one);
        }
        const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
        if (count > 0 && at_end) ERR_clear_error();
        return count > 0 && at_end;
    }
    void identify(const std::string& certificate, const std::string& key) {
        SSL_CTX* const into = shared_.get();
        constexpr std::string_view files =
            "Give tls().client_certificate() two PEM files: the certificate with what leads to its "
            "CA, and its key.";
        if (SSL_CTX_use_certificate_chain_file(into, certificate.c_str()) != 1)
            return refuse("the client certificate " + certificate + " cannot be used", files);
        // OpenSSL would ask at the terminal.
        bool locked = false;
        SSL_CTX_set_default_passwd_cb_userdata(into, &locked);
        SSL_CTX_set_default_passwd_cb(into, [](char*, int, int, void* asked) {
            *static_cast<bool*>(asked) = true;
            return -1;
        });
        const bool usable = SSL_CTX_use_PrivateKey_file(into, key.c_str(), SSL_FILETYPE_PEM) == 1;
        SSL_CTX_set_default_passwd_cb_userdata(into, nullptr);
        if (locked)
            return refuse("the key " + key + " is encrypted",
                          "Decrypt it (openssl pkey -in key.pem -out plain.pem), and let nobody "
                          "but this program's user read the result.");
        if (!usable) refuse("the key " + key + " cannot be used for " + certificate, files);
    }

    static constexpr std::string_view give_pem =
        "Give tls().ca_file() a readable file of PEM certificates.";
    void refuse(const std::string& what, std::string_view advice) {
        const std::string why = tls_code(ERR_peek_error()).message();
        ERR_clear_error();
        unusable_ = error(error_kind::configuration, what + " (" + why + ")")
                        .with_advice(std::string(advice));
    }
    static void warn() {
        static std::atomic<bool> warned{false};
        if (warned.exchange(true)) return;
        std::fputs(
            "llmkit: WARNING: TLS certificates are not verified (insecure_skip_verification). "
            "Whoever sits on the way can read API keys and change answers.\n",
            stderr);
    }

    std::unique_ptr<SSL_CTX, ssl_context_deleter> shared_;
    const std::shared_ptr<tls_sessions> sessions_ = std::make_shared<tls_sessions>();
    bool verify_;
    std::optional<error> unusable_;
};

}  // namespace llmkit::detail
