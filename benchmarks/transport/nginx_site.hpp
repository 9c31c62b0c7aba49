// nginx, in clear and over TLS with HTTP/2 and HTTP/1.1, and h2load as a client of it.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "integration/nginx.hpp"
#include "measure.hpp"
#include "message.hpp"

namespace bench {

/// nginx on the other core, which answers every request by 609 bytes.
class nginx_site {
public:
    nginx_site() : made_(folder_) {
        made_.sign("good", "DNS:localhost,IP:127.0.0.1");
        folder_.write("body", request_body());
        stay_on(1);  // inherited by the child
        web_.emplace(folder_,
                     "keepalive_requests 100000000; keepalive_timeout 600s;\n"
                     "server { listen 127.0.0.1:" +
                         std::to_string(plain_) + "; listen 127.0.0.1:" + std::to_string(port_) +
                         " ssl http2; http2_max_concurrent_streams 256;\n"
                         "ssl_certificate " +
                         made_.file("good.pem") + "; ssl_certificate_key " +
                         made_.file("good.key") + ";\nlocation / { return 200 '" + answer_body() +
                         "'; } }\n");
        stay_on(0);
    }
    unsigned short plain() const { return plain_; }
    std::string base() const { return "https://localhost:" + std::to_string(port_); }
    std::string ca() const { return made_.ca(); }

    /// CPU seconds of one h2load that makes `calls` calls over one connection; nothing when it is
    /// not installed.
    std::optional<double> h2load(std::size_t calls) const {
        const pid_t child = llmkit_test::start_program(
            {"h2load", "-n", std::to_string(calls), "-c", "1", "-m", std::to_string(in_flight),
             "-d", made_.file("body"), "-H", "content-type: application/json", "-H",
             "authorization: Bearer sk-test", base() + "/v1/chat/completions"},
            made_.file("h2load.log"));
        int status = 1;
        rusage used{};
        if (child < 0 || ::wait4(child, &status, 0, &used) != child || status != 0)
            return std::nullopt;
        const auto seconds = [](const timeval& t) {
            return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
        };
        return seconds(used.ru_utime) + seconds(used.ru_stime);
    }

private:
    llmkit_test::temporary_folder folder_;
    llmkit_test::certificates made_;
    const unsigned short plain_ = llmkit_test::free_port();
    const unsigned short port_ = llmkit_test::free_port();
    std::optional<llmkit_test::nginx> web_;
};

}  // namespace bench
