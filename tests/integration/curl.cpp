#include <llmkit/transport/curl.hpp>

#include "integration/nginx.hpp"

#include <algorithm>
#include <map>

#include <llmkit/testing/http_server.hpp>

#include "test.hpp"
#include "transport/raw_server.hpp"

namespace test_integration_curl {

using namespace llmkit;
using namespace llmkit_test;

namespace {

/// nginx with https and HTTP/2, with a good certificate and two that must be refused. `/` says which
/// protocol was spoken; `/on` goes on to a server of ours, whole.
class site {
public:
    site() : made_(folder_) {
        made_.sign("good", "DNS:localhost,IP:127.0.0.1");
        made_.sign("other", "DNS:example.org,IP:127.0.0.9");
        made_.sign("old", "DNS:localhost,IP:127.0.0.1", true);
        std::string servers = "keepalive_requests 100; upstream ours { server 127.0.0.1:" +
                              std::to_string(upstream.port()) + "; keepalive 64; }\n";
        const std::pair<unsigned short, const char*> secured[] = {
            {good, "good"}, {other, "other"}, {old, "old"}};
        for (const auto& [port, name] : secured)
            servers += "server { listen 127.0.0.1:" + std::to_string(port) +
                       " ssl http2; location / { return 200 $server_protocol; }"
                       " location /on { proxy_pass http://ours; proxy_next_upstream off;"
                       " proxy_http_version 1.1; proxy_set_header Connection ''; }"
                       " ssl_certificate " +
                       made_.file(std::string(name) + ".pem") + "; ssl_certificate_key " +
                       made_.file(std::string(name) + ".key") + "; }\n";
        web_.emplace(folder_, servers);
    }
    std::string ca() const { return made_.ca(); }
    const temporary_folder& folder() const { return folder_; }
    /// The numbers of all requests that came to our server, sorted.
    std::vector<int> numbers() const {
        std::vector<int> all;
        for (const auto& ask : upstream.log())
            if (const auto at = ask.target.find("n="); at != std::string::npos)
                all.push_back(std::stoi(ask.target.substr(at + 2)));
        std::sort(all.begin(), all.end());
        return all;
    }

    testing::http_server upstream{answer, {.logged = 100'000}};
    const unsigned short good = free_port();
    const unsigned short other = free_port();
    const unsigned short old = free_port();

private:
    static testing::server_reply answer(const testing::server_request& ask) {
        using testing::server_reply;
        if (ask.target == "/on/silent") return server_reply().stall();
        if (ask.target == "/on/stalls") return server_reply().event("one").stall();
        return server_reply().body("pong");
    }

    temporary_folder folder_;
    certificates made_;
    std::optional<nginx> web_;
};

site& web() {
    static site one;
    return one;
}

url at(const std::string& scheme, const std::string& host, unsigned short port,
       const std::string& path = "/") {
    std::string why;
    return url::parse(scheme + "://" + host + ":" + std::to_string(port) + path, why).value();
}

task<void> fetch(curl_transport client, http_request ask, result<std::string>& got) {
    auto answer = co_await client.send(std::move(ask));
    if (!answer) {
        got = answer.error();
        co_return;
    }
    got = co_await answer->read_all();
}

result<std::string> fetched(const curl_options& how, const url& where) {
    asio::io_context context;
    result<std::string> got;
    run_test(context, fetch(curl(context.get_executor(), how), http_request("GET", where), got));
    return got;
}

error refusal(const curl_options& how, unsigned short port, const std::string& host) {
    const auto got = fetched(how, at("https", host, port));
    return got ? error() : got.error();
}

/// Calls with the next numbers until there are enough.
task<void> call_on(curl_transport client, url where, std::string query, int& next, int end,
                   std::map<std::string, int>& outcomes) {
    while (next < end) {
        std::string why;
        const auto numbered =
            url::parse(where.text() + (query.empty() ? "" : query + std::to_string(next)), why);
        ++next;
        result<std::string> got;
        co_await fetch(client, http_request("POST", *numbered, {}, bytes(std::string(482, 'x'))),
                       got);
        ++outcomes[got ? *got : got.error().to_string()];
    }
}

std::map<std::string, int> call_often(const curl_transport& client, asio::io_context& context,
                                      const url& where, const std::string& query, int count,
                                      int callers) {
    std::map<std::string, int> outcomes;
    int next = 0, busy = callers;
    for (int i = 0; i < callers; ++i)
        asio::co_spawn(context, call_on(client, where, query, next, count, outcomes),
                       [&](std::exception_ptr) {
                           if (--busy == 0) context.stop();
                       });
    context.restart();
    context.run();
    return outcomes;
}

/// nghttpd without TLS, serving a file.
class h2c_server {
public:
    h2c_server() {
        folder_.write("files/index.html", "hello");
        const std::string files = (folder_.path() / "files").string();
        running_.emplace("nghttpd", "nghttp2-server", port,
                         std::vector<std::string>{"--no-tls", "-d", files, std::to_string(port)},
                         folder_);
    }
    const unsigned short port = free_port();

private:
    temporary_folder folder_;
    std::optional<server_program> running_;
};

}  // namespace

TEST_CASE("curl verifies certificates against the CAs it is given", "[curl]") {
    const auto trusting = curl_options().ca_file(web().ca());
    for (const char* host : {"localhost", "127.0.0.1"}) {
        CHECK(fetched(trusting, at("https", host, web().good)).value() == "HTTP/2.0");
        CHECK(refusal(trusting, web().other, host).kind() == error_kind::tls);
    }
    CHECK(refusal(trusting, web().old, "localhost").message().find("expired") !=
          std::string_view::npos);
    CHECK(refusal(curl_options(), web().good, "localhost").kind() == error_kind::tls);
    const auto text = curl_options().ca_pem(web().folder().read("ca.pem"));
    CHECK(fetched(text, at("https", "localhost", web().good)).value() == "HTTP/2.0");
    CHECK(refusal(curl_options().insecure_skip_verification(), web().other, "localhost").kind() ==
          error_kind::unset);
    CHECK(refusal(curl_options().ca_file("/nowhere/ca.pem"), web().good, "localhost").kind() ==
          error_kind::configuration);
}

TEST_CASE("curl speaks the version of HTTP it is told to", "[curl]") {
    const auto where = at("https", "localhost", web().good);
    const auto trusting = curl_options().ca_file(web().ca());
    CHECK(fetched(curl_options(trusting).version(curl_version::http1), where).value() ==
          "HTTP/1.1");
    CHECK(fetched(curl_options(trusting).version(curl_version::http2_prior_knowledge), where)
              .value() == "HTTP/2.0");
    const bool has3 = (::curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_HTTP3) != 0;
    const auto third = fetched(curl_options(trusting).version(curl_version::http3), where);
    if (!has3) CHECK(third.error().kind() == error_kind::configuration);
}

TEST_CASE("ten thousand calls of curl through nginx: none is lost, none is doubled", "[curl]") {
    asio::io_context context(1);
    one_thread(context);
    const auto client = curl(context.get_executor(), curl_options().ca_file(web().ca()));
    // nginx says goodbye after each hundred requests on a connection.
    const auto outcomes =
        call_often(client, context, at("https", "localhost", web().good, "/on"), "?n=", 10'000, 64);
    CHECK(outcomes == std::map<std::string, int>{{"pong", 10'000}});
    std::vector<int> all(10'000);
    for (int i = 0; i < 10'000; ++i) all[static_cast<std::size_t>(i)] = i;
    CHECK((web().numbers() == all));
}

namespace {
task<void> leave_one(curl_transport client) {
    auto& upstream = web().upstream;
    const clock_handle time = client.clock();
    const auto target = [](const char* path) {
        return http_request("GET", at("https", "localhost", web().good, path));
    };
    auto stays = co_await client.send(target("/on/stalls"));
    REQUIRE(stays);
    const std::size_t before = upstream.departures();
    {
        auto leaves = co_await client.send(target("/on/stalls"));
        REQUIRE(leaves);
    }
    auto hasty = target("/on/silent");
    hasty.first_event = 50ms;
    auto late = co_await client.send(hasty);
    CHECK(!late);
    for (int i = 0; i < 5000 && upstream.departures() < before + 2; ++i)
        co_await sleep_for(time, 1ms);
    CHECK(upstream.departures() == before + 2);
    auto first = co_await stays->read();
    CHECK(first.value().view() == "data: one\n\n");
    result<std::string> another;
    co_await fetch(client, target("/on"), another);
    CHECK(another.value() == "pong");
}
}  // namespace

TEST_CASE("the server hears at once of a call of curl's that ends, beside others on its connection",
          "[curl]") {
    asio::io_context context;
    run_test(context, leave_one(curl(context.get_executor(), curl_options().ca_file(web().ca()))));
}

TEST_CASE("HTTP/2 in clear works with this libcurl, also where it breaks connections used again",
          "[curl]") {
    h2c_server server;
    asio::io_context context;
    const auto client =
        curl(context.get_executor(), curl_options().version(curl_version::http2_prior_knowledge));
    const auto where = at("http", "127.0.0.1", server.port, "/index.html");
    for (const int callers : {1, 20}) {
        const auto outcomes = call_often(client, context, where, "", 200, callers);
        CHECK(outcomes == std::map<std::string, int>{{"hello", 200}});
    }
}

TEST_CASE("curl goes through the proxy it is given", "[curl]") {
    testing::http_server proxy([](const testing::server_request& ask) {
        return testing::server_reply().body("proxied " + ask.target);
    });
    std::string why;
    const auto where = *url::parse("http://example.invalid/p?a=b", why);
    CHECK(fetched(curl_options().proxy(proxy.origin()), where).value() ==
          "proxied http://example.invalid/p?a=b");
    const auto direct = fetched(curl_options().proxy(""), where);
    REQUIRE(!direct);
    CHECK(direct.error().kind() == error_kind::resolve);
}

}  // namespace test_integration_curl
