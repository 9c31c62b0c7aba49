// The conformance suite over TLS and HTTP/2: nginx stands between each transport and the suite's
// own servers.
#include <llmkit/testing/transport_conformance.hpp>

#include "integration/nginx.hpp"

#include <fmt/format.h>

#include <llmkit/transport/curl.hpp>
#include <llmkit/transport/http.hpp>
#include <llmkit/transport/http2.hpp>
#include <llmkit/transport/tls.hpp>

#include "test.hpp"

namespace test_integration_conformance {

using namespace llmkit;
using namespace llmkit_test;
using testing::any_transport;

namespace {

/// nginx that passes a request on to the port on this machine that its X-Port names.
class gateway {
public:
    gateway() : made_(folder_) {
        made_.sign("good", "DNS:localhost,IP:127.0.0.1");
        const std::string on = fmt::format(
            "client_max_body_size 0; ssl_certificate {}; ssl_certificate_key {};"
            " location / {{ proxy_pass http://127.0.0.1:$http_x_port$request_uri;"
            " proxy_http_version 1.1; proxy_buffering off; proxy_request_buffering off;"
            " proxy_redirect off; proxy_next_upstream off; proxy_intercept_errors off;"
            " proxy_set_header Host 127.0.0.1:$http_x_port; proxy_set_header X-Port '';"
            " proxy_set_header Connection ''; proxy_pass_header X-Accel-Buffering; }}",
            made_.file("good.pem"), made_.file("good.key"));
        std::string servers;
        for (const auto& [port, how] :
             {std::pair(tls, "ssl"), std::pair(tls2, "ssl http2"), std::pair(clear2, "http2")})
            servers += fmt::format("server {{ listen 127.0.0.1:{} {}; {} }}\n", port, how, on);
        web_.emplace(folder_, servers);
    }
    std::string ca() const { return made_.ca(); }

    const unsigned short tls = free_port();     ///< HTTP/1.1 over TLS
    const unsigned short tls2 = free_port();    ///< HTTP/2 over TLS
    const unsigned short clear2 = free_port();  ///< HTTP/2 in clear

private:
    temporary_folder folder_;
    certificates made_;
    std::optional<nginx> web_;
};

gateway& way() {
    static gateway one;
    return one;
}

/// Sends what is for some port of this machine through the gateway.
class detour {
public:
    detour(any_transport by, std::string scheme, unsigned short port)
        : by_(std::move(by)), gateway_(fmt::format("{}://localhost:{}", scheme, port)) {}

    clock_handle clock() const { return by_.clock(); }
    task<result<http_response>> send(http_request ask) {
        std::string why;
        http_request sent(ask.method(), *url::parse(gateway_ + ask.target().target(), why),
                          ask.fields(), ask.body());
        sent.fields().add("X-Port", std::to_string(ask.target().port()));
        sent.deadline = ask.deadline;
        sent.connect = ask.connect;
        sent.first_event = ask.first_event;
        sent.idle = ask.idle;
        sent.max_body = ask.max_body;
        return by_.send(std::move(sent));
    }

private:
    any_transport by_;
    std::string gateway_;
};

void conforms(const std::string& scheme, unsigned short port,
              const std::function<any_transport(const executor&)>& make, bool early = true) {
    const auto checks = testing::transport_checks({.http1_framing = false,
                                                   .strict_framing = false,
                                                   .reuses_connections = false,
                                                   .early_answers = early});
    for (const auto& check : checks) {
        DYNAMIC_SECTION(check.name()) {
            const auto found =
                check.run([&](const executor& on) { return detour(make(on), scheme, port); });
            INFO(found.text());
            CHECK(found.passed());
        }
    }
}

}  // namespace

TEST_CASE("http over TLS conforms to the concept, through nginx", "[nginx]") {
    conforms("https", way().tls,
             [](const executor& on) { return http(on, tls().ca_file(way().ca())); });
}

TEST_CASE("http2 over TLS conforms to the concept, through nginx", "[nginx]") {
    conforms("https", way().tls2, [](const executor& on) {
        return http(on, http_options().tls(tls().ca_file(way().ca())).http2(http2()));
    });
}

TEST_CASE("http2 in clear conforms to the concept, through nginx", "[nginx]") {
    conforms("http", way().clear2, [](const executor& on) {
        return http(on, http_options().http2(http2().prior_knowledge()));
    });
}

// libcurl 7.88 fails a call whose HTTP/2 stream the server has closed while the body is being sent.

TEST_CASE("curl's HTTP/2 over TLS conforms to the concept, through nginx", "[nginx]") {
    conforms(
        "https", way().tls2,
        [](const executor& on) { return curl(on, curl_options().ca_file(way().ca())); }, false);
}

TEST_CASE("curl's HTTP/2 in clear conforms to the concept, through nginx", "[nginx]") {
    conforms(
        "http", way().clear2,
        [](const executor& on) {
            return curl(on, curl_options().version(curl_version::http2_prior_knowledge));
        },
        false);
}

}  // namespace test_integration_conformance
