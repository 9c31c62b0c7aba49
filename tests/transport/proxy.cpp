#include <cstdlib>

#include <llmkit/transport/http.hpp>
#include <llmkit/transport/http2.hpp>
#include <llmkit/transport/tls.hpp>

#include "raw_server.hpp"
#include "test.hpp"

namespace test_transport_proxy {

using namespace llmkit;
using namespace llmkit_test;

namespace {

url parsed(const std::string& text) {
    std::string why;
    return url::parse(text, why).value();
}

/// A proxy that gives each request the same answer and keeps what it was asked.
class scripted_proxy {
public:
    scripted_proxy(asio::io_context& context, std::string answer)
        : answer_(std::move(answer)),
          server_(context, [this](std::shared_ptr<peer> client, std::size_t) {
              return serve(std::move(client));
          }) {}
    std::string where(const std::string& user = "") const {
        return "http://" + user + "127.0.0.1:" + std::to_string(server_.port());
    }
    std::size_t accepted() const { return server_.accepted(); }

    std::vector<std::string> asked;

private:
    task<void> serve(std::shared_ptr<peer> client) {
        std::string text;
        while (co_await client->request(text)) {
            asked.push_back(text);
            co_await client->send(answer_);
            if (!text.starts_with("CONNECT")) continue;
            co_await client->more();
            co_return;
        }
    }
    std::string answer_;
    raw_server server_;
};

http_transport through(const executor& on, const std::string& where) {
    return http(on, http_options().tls(tls()).route(proxy(where)));
}

task<void> forwards(const scripted_proxy& by) {
    auto client = through(co_await asio::this_coro::executor, by.where("user:pass%3Aword@"));
    for (const char* where : {"http://one.test/v1?q=1", "http://two.test:8080/"}) {
        auto answer = co_await client.send(get(parsed(where)));
        REQUIRE(answer);
        CHECK(answer->status() == 200);
        auto text = co_await answer->read_all();
        CHECK(text.value() == "pong");
    }
    CHECK(by.accepted() == 1);  // one connection for both hosts
    REQUIRE(by.asked.size() == 2);
    CHECK(by.asked[0] ==
          "GET http://one.test/v1?q=1 HTTP/1.1\r\nHost: one.test\r\n"
          "Proxy-Authorization: Basic dXNlcjpwYXNzOndvcmQ=\r\n\r\n");
    CHECK(by.asked[1].starts_with("GET http://two.test:8080/ HTTP/1.1\r\nHost: two.test:8080\r\n"));
}

// The error of a call through the proxy; none of it holds the password.
task<error> failure(std::string proxy, std::string where) {
    auto client = through(co_await asio::this_coro::executor, proxy);
    auto answer = co_await client.send(get(parsed(where)));
    CHECK(client.connections().open == client.connections().idle);
    CHECK(client.connections().waiting == 0);
    if (answer) co_return error();
    CHECK(answer.error().to_string().find("secret") == std::string::npos);
    CHECK(answer.error().to_string().find("c2VjcmV0") == std::string::npos);  // in base64
    co_return answer.error();
}
task<void> fails(std::string proxy, std::string where, error& how) {
    auto why = co_await failure(std::move(proxy), std::move(where));
    how = why;
}

// What a proxy's answer to CONNECT comes to.
error refused_by(std::string answer, std::string* asked = nullptr) {
    asio::io_context context;
    scripted_proxy by(context, std::move(answer));
    error how;
    run_test(context, fails(by.where("me:secret@"), "https://api.test/v1", how));
    if (asked) *asked = by.asked.empty() ? std::string() : by.asked.front();
    CHECK(by.asked.size() == 1);
    CHECK((how.kind() == error_kind::tls ||
           how.message().find(by.where()) != std::string_view::npos));
    return how;
}

/// Sets variables of the environment for as long as it lives.
class setting {
public:
    setting(const char* name, const std::string& value) : name_(name) {
        if (const char* old = std::getenv(name)) old_ = old;
        ::setenv(name, value.c_str(), 1);
    }
    setting(const setting&) = delete;
    setting& operator=(const setting&) = delete;
    ~setting() { old_ ? ::setenv(name_, old_->c_str(), 1) : ::unsetenv(name_); }

private:
    const char* name_;
    std::optional<std::string> old_;
};

task<void> by_environment(const scripted_proxy& by, const raw_server& here) {
    const executor on = co_await asio::this_coro::executor;
    std::optional<setting> variable(std::in_place, "http_proxy", by.where());
    auto client = http(on);
    auto straight = http(on, http_options().route(direct()));
    variable.reset();  // read once, when the transport was made
    auto answer = co_await client.send(get(parsed("http://llm.test/")));
    REQUIRE(answer);
    CHECK(by.asked.size() == 1);
    auto local = co_await client.send(get(here.url()));
    REQUIRE(local);
    CHECK(by.asked.size() == 1);
    auto unknown = co_await straight.send(get(parsed("http://llm.invalid/")));
    REQUIRE(!unknown);
    CHECK(unknown.error().kind() == error_kind::resolve);
}

task<void> silent_proxy(const raw_server& by) {
    auto options = http_options().tls(tls()).policy({.connect = 30ms}).route(proxy(by.base()));
    auto client = http(co_await asio::this_coro::executor, options);
    auto answer = co_await client.send(get(parsed("https://api.test/")));
    REQUIRE(!answer);
    CHECK(answer.error().kind() == error_kind::timeout);
    CHECK(answer.error().code() == "connect_limit");
    CHECK(answer.error().message().find("proxy") != std::string_view::npos);
    CHECK(client.connections().open == 0);
}

const std::string pong = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npong";

}  // namespace

TEST_CASE("http URLs are handed to the proxy whole, over shared connections", "[proxy]") {
    asio::io_context context;
    scripted_proxy by(context, pong);
    run_test(context, forwards(by));
}

TEST_CASE("https URLs go through a tunnel, in which TLS begins", "[proxy]") {
    std::string asked;
    const error how = refused_by("HTTP/1.1 200 Connection established\r\n\r\n", &asked);
    CHECK(how.kind() == error_kind::tls);  // the scripted proxy is no TLS server
    CHECK(
        asked.starts_with("CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n"
                          "Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n"));
}

TEST_CASE("a tunnel's target has its port, and brackets around an IPv6 address", "[proxy]") {
    CHECK(detail::tunnel_target(parsed("https://api.test/v1")) == "api.test:443");
    CHECK(detail::tunnel_target(parsed("https://[::1]:8443/")) == "[::1]:8443");
    CHECK(detail::tunnel_target(parsed("https://10.0.0.1/")) == "10.0.0.1:443");
}

TEST_CASE("a proxy that makes no tunnel is named, and what to do", "[proxy]") {
    const error login = refused_by(
        "HTTP/1.1 407 Login\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n");
    CHECK(login.kind() == error_kind::configuration);
    CHECK(login.code() == "proxy_login");
    CHECK(login.status() == 407);
    CHECK(login.message().find("does not accept") != std::string_view::npos);
    const error other = refused_by("HTTP/1.1 407 Login\r\nProxy-Authenticate: Negotiate\r\n\r\n");
    CHECK(other.message().find("Basic") != std::string_view::npos);
    const error forbidden = refused_by("HTTP/1.1 403 No\r\n\r\n");
    CHECK(forbidden.kind() == error_kind::configuration);
    CHECK(forbidden.code() == "proxy_refused");
    CHECK(forbidden.message().find("api.test:443") != std::string_view::npos);
    for (const char* status : {"502", "503", "504"}) {
        const error failed = refused_by("HTTP/1.1 " + std::string(status) + " X\r\n\r\n");
        CHECK(failed.kind() == error_kind::connect);
        CHECK(failed.code() == "proxy_failed");
    }
}

TEST_CASE("a proxy's answer to CONNECT is bounded and parsed strictly", "[proxy]") {
    CHECK(refused_by("SSH-2.0-OpenSSH\r\n").kind() == error_kind::protocol);
    CHECK(refused_by("HTTP/1.1 200 OK\r\n folded\r\n\r\n").kind() == error_kind::protocol);
    CHECK(refused_by("HTTP/1.1 200 OK\r\n\r\nsurprise").kind() == error_kind::protocol);
    CHECK(refused_by("HTTP/1.1 101 Switching\r\n\r\n").kind() == error_kind::protocol);
    CHECK(refused_by("HTTP/1.1 200 OK\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n").kind() ==
          error_kind::protocol);
    std::string many;  // each line of a size that may be
    for (int i = 0; i < 6; ++i) many += "X: " + std::string(4000, 'x') + "\r\n";
    CHECK(refused_by("HTTP/1.1 200 OK\r\n" + many + "\r\n").kind() == error_kind::protocol);
    std::string interim;
    for (int i = 0; i < 20; ++i) interim += "HTTP/1.1 100 Continue\r\n\r\n";
    CHECK(refused_by(interim).kind() == error_kind::protocol);
}

TEST_CASE("a proxy that asks for a login does so for http URLs as well", "[proxy]") {
    asio::io_context context;
    scripted_proxy by(
        context, "HTTP/1.1 407 Login\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n");
    error how;
    run_test(context, fails(by.where(), "http://api.test/", how));
    CHECK(how.code() == "proxy_login");
    CHECK(how.message().find("asks for a user name") != std::string_view::npos);
}

TEST_CASE("what is handed to a proxy is HTTP/1.1, whatever the server is known to speak",
          "[proxy]") {
    asio::io_context context;
    scripted_proxy by(context, pong);
    const auto call = [](http_transport client) -> task<void> {
        auto answer = co_await client.send(get(parsed("http://api.test/")));
        REQUIRE(answer);
        CHECK(answer->status() == 200);
    };
    run_test(context,
             call(http(context.get_executor(),
                       http_options().http2(http2().prior_knowledge()).route(proxy(by.where())))));
    REQUIRE(by.asked.size() == 1);
    CHECK(by.asked[0].starts_with("GET http://api.test/ HTTP/1.1\r\n"));
}

TEST_CASE("a proxy that is not there is named", "[proxy]") {
    asio::io_context context;
    asio::ip::tcp::socket nobody(context, asio::ip::tcp::v4());
    nobody.bind({asio::ip::address_v4::loopback(), 0});
    const auto port = std::to_string(nobody.local_endpoint().port());
    error how;
    run_test(context, fails("http://me:secret@127.0.0.1:" + port, "https://api.test/", how));
    CHECK(how.kind() == error_kind::connect);
    CHECK(how.message().starts_with("cannot connect to the proxy http://127.0.0.1:" + port));
    run_test(context, fails("https://me:secret@127.0.0.1", "https://api.test/", how));
    CHECK(how.kind() == error_kind::configuration);
    for (const char* to : {"https://api.test/", "http://api.test/"}) {
        run_test(context, fails("http://me:secret@nowhere.invalid:3128", to, how));
        INFO(how.to_string());
        CHECK(how.kind() == error_kind::resolve);
        CHECK(how.message().find("the proxy http://nowhere.invalid:3128") !=
              std::string_view::npos);
        CHECK(how.advice().find("HTTPS_PROXY") != std::string_view::npos);
        CHECK(how.to_string().find("secret") == std::string::npos);
    }
}

TEST_CASE("a proxy that does not answer is given up by the connect limit", "[proxy]") {
    asio::io_context context;
    raw_server by(context,
                  [](std::shared_ptr<peer> client, std::size_t) { return client->gone(); });
    run_test(context, silent_proxy(by));
}

TEST_CASE("a transport takes its proxies from the environment once, and none for this machine",
          "[proxy]") {
    asio::io_context context;
    scripted_proxy by(context, pong);
    raw_server here(context, serve_well);
    run_test(context, by_environment(by, here));
}

}  // namespace test_transport_proxy
