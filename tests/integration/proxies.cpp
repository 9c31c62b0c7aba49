#include "integration/nginx.hpp"

#include <llmkit/transport/http.hpp>
#include <llmkit/transport/http2.hpp>
#include <llmkit/transport/tls.hpp>

#include "test.hpp"

namespace test_integration_proxies {

using namespace llmkit;
using namespace llmkit_test;

namespace {

/// Debian's tinyproxy on a free loopback port, with a login, and tunnels to one port only.
class tinyproxy {
public:
    tinyproxy(const temporary_folder& in, unsigned short tunnels_to) {
        const std::string folder = in.path().string();
        in.write("tinyproxy.conf", "Port " + std::to_string(port) +
                                       "\nListen 127.0.0.1\nTimeout 20\nMaxClients 20\n"
                                       "Allow 127.0.0.1\nBasicAuth me password\nConnectPort " +
                                       std::to_string(tunnels_to) + "\n");
        running_.emplace("tinyproxy", "tinyproxy", port,
                         std::vector<std::string>{"-d", "-c", folder + "/tinyproxy.conf"}, in);
    }
    route as(const std::string& login) const {
        return proxy("http://" + login + "@127.0.0.1:" + std::to_string(port));
    }

    const unsigned short port = free_port();

private:
    std::optional<server_program> running_;
};

/// nginx in clear, with TLS, and at a Unix socket; and a proxy before it.
class site {
public:
    site() : made_(folder_) {
        made_.sign("good", "IP:127.0.0.1");
        made_.sign("other", "DNS:example.org");
        folder_.write("files/small.json", "{\"a\":1}");
        folder_.write("files/large.bin", std::string(3 << 20, 'x'));
        const std::string common = " root " + folder_.path().string() +
                                   "/files; location /spoken { return 200 $server_protocol; } ";
        std::string servers =
            "server { listen 127.0.0.1:" + std::to_string(plain) + ";" + common + "}\n";
        servers += "server { listen unix:" + socket() + ";" + common + "}\n";
        for (const auto& [port, name] : {std::pair(good, "good"), std::pair(other, "other")})
            servers += "server { listen 127.0.0.1:" + std::to_string(port) + " ssl http2;" +
                       common + "ssl_certificate " + made_.file(std::string(name) + ".pem") +
                       "; ssl_certificate_key " + made_.file(std::string(name) + ".key") + "; }\n";
        web_.emplace(folder_, servers);
    }
    http_transport client(const executor& on, const route& way) const {
        return http(on, http_options().tls(tls().ca_file(made_.ca())).route(way));
    }
    std::string ca() const { return made_.ca(); }
    std::string socket() const { return (folder_.path() / "web.sock").string(); }
    const temporary_folder& folder() const { return folder_; }

    const unsigned short plain = free_port();
    const unsigned short good = free_port();
    const unsigned short other = free_port();

private:
    temporary_folder folder_;
    certificates made_;
    std::optional<nginx> web_;
};

site& web() {
    static site one;
    return one;
}

url at(const std::string& scheme, unsigned short port, const std::string& path) {
    std::string why;
    return url::parse(scheme + "://127.0.0.1:" + std::to_string(port) + path, why).value();
}

task<result<std::string>> fetch(http_transport client, url where) {
    auto answer = co_await client.send(http_request("GET", where));
    if (!answer) co_return answer.error();
    auto text = co_await answer->read_all();
    co_return text;
}
result<std::string> got(asio::io_context& context, const http_transport& client, const url& where) {
    result<std::string> out;
    asio::co_spawn(context, fetch(client, where),
                   [&](std::exception_ptr escaped, result<std::string> text) {
                       if (escaped) std::rethrow_exception(escaped);
                       out = std::move(text);
                   });
    context.restart();
    context.run();
    return out;
}

const std::string login = "me:p%61ssword";

}  // namespace

TEST_CASE("calls go through a real proxy, in clear and by tunnels", "[proxy][nginx]") {
    const site& to = web();
    const tinyproxy by(to.folder(), to.good);
    asio::io_context context;
    const auto client = to.client(context.get_executor(), by.as(login));
    for (const auto& [scheme, port] : {std::pair("http", to.plain), std::pair("https", to.good)}) {
        for (int i = 0; i < 3; ++i) {
            const auto small = got(context, client, at(scheme, port, "/small.json"));
            REQUIRE(small);
            CHECK(*small == "{\"a\":1}");
        }
        const auto large = got(context, client, at(scheme, port, "/large.bin"));
        REQUIRE(large);
        CHECK(large->size() == 3 << 20);
    }
    CHECK(client.connections().idle >= 1);  // the tunnel is kept
    CHECK(client.connections().tls_handshakes == 1);
}

TEST_CASE("HTTP/2 is spoken through a tunnel", "[proxy][nginx][http2]") {
    const site& to = web();
    const tinyproxy by(to.folder(), to.good);
    asio::io_context context;
    const auto client =
        http(context.get_executor(),
             http_options().tls(tls().ca_file(to.ca())).http2(http2()).route(by.as(login)));
    std::optional<result<std::size_t>> warm;
    auto ahead = client;
    asio::co_spawn(context, ahead.warm_up("https://127.0.0.1:" + std::to_string(to.good), 4),
                   [&](std::exception_ptr, result<std::size_t> ready) { warm = ready; });
    context.run();
    CHECK(warm->value() == 1);
    for (int i = 0; i < 3; ++i) {
        const auto spoken = got(context, client, at("https", to.good, "/spoken"));
        REQUIRE(spoken);
        CHECK(*spoken == "HTTP/2.0");
    }
    CHECK(client.connections().opened == 1);
    const auto plain = got(context, client, at("http", to.plain, "/spoken"));
    REQUIRE(plain);
    CHECK(*plain == "HTTP/1.1");
}

TEST_CASE("what a real proxy refuses is told", "[proxy][nginx]") {
    const site& to = web();
    const tinyproxy by(to.folder(), to.good);
    asio::io_context context;
    const auto on = context.get_executor();
    const auto unknown = proxy("127.0.0.1:" + std::to_string(by.port));
    for (const auto& [scheme, port] : {std::pair("http", to.plain), std::pair("https", to.good)}) {
        const auto none = got(context, to.client(on, unknown), at(scheme, port, "/"));
        REQUIRE(!none);
        CHECK(none.error().code() == "proxy_login");
    }
    const auto wrong = got(context, to.client(on, by.as("me:secret")), at("https", to.good, "/"));
    REQUIRE(!wrong);
    CHECK(wrong.error().code() == "proxy_login");
    CHECK(wrong.error().to_string().find("secret") == std::string::npos);
    const auto port = got(context, to.client(on, by.as(login)), at("https", to.other, "/"));
    REQUIRE(!port);
    CHECK(port.error().code() == "proxy_refused");
}

TEST_CASE("TLS in a tunnel is verified as ever", "[proxy][nginx]") {
    const site& to = web();
    const tinyproxy by(to.folder(), to.other);
    asio::io_context context;
    const auto client = to.client(context.get_executor(), by.as(login));
    const auto other = got(context, client, at("https", to.other, "/small.json"));
    REQUIRE(!other);
    CHECK(other.error().kind() == error_kind::tls);
    CHECK(other.error().message().find("not for 127.0.0.1") != std::string_view::npos);
}

TEST_CASE("nginx is reached over its Unix socket", "[unix][nginx]") {
    const site& to = web();
    asio::io_context context;
    const auto client = to.client(context.get_executor(), unix_socket(to.socket()));
    for (const char* path : {"/small.json", "/large.bin", "/small.json"})
        CHECK(got(context, client, at("http", 80, path)));
    CHECK(client.connections().open == 1);
}

}  // namespace test_integration_proxies
