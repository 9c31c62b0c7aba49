#include "integration/nginx.hpp"

#include <llmkit/testing/http_server.hpp>
#include <llmkit/transport/http.hpp>
#include <llmkit/transport/tls.hpp>

#include "test.hpp"
#include "transport/hand_clock.hpp"

namespace test_integration_nginx {

using namespace llmkit;
using namespace llmkit_test;

namespace {

/// nginx with http and https, and https with certificates that must be refused.
class site {
public:
    site() : made_(folder_) {
        made_.sign("good", "DNS:localhost,IP:127.0.0.1");
        made_.sign("other", "DNS:example.org,IP:127.0.0.9");
        made_.sign("old", "DNS:localhost,IP:127.0.0.1", true);
        folder_.write("files/small.json", "{\"a\":1}");
        folder_.write("files/large.bin", std::string(3 << 20, 'x'));
        const std::string common = " root " + folder_.path().string() +
                                   "/files; client_max_body_size 1m;"
                                   " location /echo { return 200 $request_method; }"
                                   " location /post { proxy_pass http://127.0.0.1:" +
                                   std::to_string(plain) + "/echo; }\n";
        std::string servers =
            "server { listen 127.0.0.1:" + std::to_string(plain) + ";" + common + "}\n";
        const std::pair<unsigned short, const char*> secured[] = {
            {good, "good"}, {other, "other"}, {old, "old"}};
        for (const auto& [port, name] : secured) {
            servers += "server { listen 127.0.0.1:" + std::to_string(port) + " ssl;" + common +
                       "ssl_certificate " + made_.file(std::string(name) + ".pem") +
                       "; ssl_certificate_key " + made_.file(std::string(name) + ".key") + "; }\n";
        }
        web_.emplace(folder_, servers);
    }
    std::string ca() const { return made_.ca(); }
    const temporary_folder& folder() const { return folder_; }

    const unsigned short plain = free_port();
    const unsigned short good = free_port();
    const unsigned short other = free_port();
    const unsigned short old = free_port();

private:
    temporary_folder folder_;
    certificates made_;
    std::optional<nginx> web_;
};

site& web() {
    static site one;
    return one;
}

url at(const std::string& scheme, const std::string& host, unsigned short port,
       const std::string& path) {
    std::string why;
    return url::parse(scheme + "://" + host + ":" + std::to_string(port) + path, why).value();
}

struct answered {
    result<int> status;
    std::string body;
};

task<void> ask(http_transport client, http_request what, answered& into) {
    auto answer = co_await client.send(std::move(what));
    if (!answer) {
        into.status = answer.error();
        co_return;
    }
    auto text = co_await answer->read_all();
    if (!text) {
        into.status = text.error();
        co_return;
    }
    into.status = answer->status();
    into.body = *text;
}

answered run(asio::io_context& context, const http_transport& client, http_request what) {
    answered got;
    asio::co_spawn(context, ask(client, std::move(what), got), [](std::exception_ptr escaped) {
        if (escaped) std::rethrow_exception(escaped);
    });
    context.restart();
    context.run();
    return got;
}

void serves(const http_transport& client, asio::io_context& context, const std::string& scheme,
            const std::string& host, unsigned short port) {
    const auto small = run(context, client, {"GET", at(scheme, host, port, "/small.json")});
    REQUIRE(small.status);
    CHECK(*small.status == 200);
    CHECK(small.body == "{\"a\":1}");
    const auto large = run(context, client, {"GET", at(scheme, host, port, "/large.bin")});
    REQUIRE(large.status);
    CHECK(large.body.size() == 3 << 20);
    const auto missing = run(context, client, {"GET", at(scheme, host, port, "/none")});
    REQUIRE(missing.status);
    CHECK(*missing.status == 404);
    // Passed on only when it is there as a whole, unlike /echo, which does not wait for it.
    http_request post("POST", at(scheme, host, port, "/post"), {},
                      bytes(std::string(200'000, 'y')));
    const auto posted = run(context, client, std::move(post));
    REQUIRE(posted.status);
    CHECK(posted.body == "POST");
    CHECK(client.connections().open == 1);
    CHECK(client.connections().idle == 1);
}

error refusal(unsigned short port, const std::string& host, tls how) {
    asio::io_context context;
    const auto got = run(context, http(context.get_executor(), how),
                         {"GET", at("https", host, port, "/small.json")});
    return got.status ? error() : got.status.error();
}

// An https call in a context that is run event by event, then cancelled or dropped with it. False
// when the call had already ended by then.
bool interrupted_after(int events, bool drop) {
    asio::cancellation_signal cancel;
    std::optional<asio::io_context> context(std::in_place);
    const auto client = http(context->get_executor(), tls().ca_file(web().ca()));
    answered got;
    bool done = false;
    http_request post("POST", at("https", "localhost", web().good, "/echo"), {},
                      bytes(std::string(900'000, 'y')));
    asio::co_spawn(
        *context, ask(client, std::move(post), got),
        asio::bind_cancellation_slot(cancel.slot(), [&done](std::exception_ptr) { done = true; }));
    for (int i = 0; i < events && !done; ++i) context->run_one();
    const bool in_time = !done;
    if (drop) {
        context.reset();
        return in_time;
    }
    cancel.emit(asio::cancellation_type::terminal);
    while (!done || client.connections().open > client.connections().idle) context->run_one();
    CHECK(client.connections().waiting == 0);
    if (!in_time) CHECK(got.body == "POST");
    return in_time;
}

}  // namespace

TEST_CASE("an https call can be cancelled, and its context dropped, at every point", "[nginx]") {
    for (const bool drop : {false, true}) {
        int events = 0;
        while (interrupted_after(events, drop)) ++events;
        CHECK(events > 4);
    }
}

TEST_CASE("nginx answers over http, one connection for all", "[nginx]") {
    asio::io_context context;
    const auto client = http(context.get_executor());
    serves(client, context, "http", "127.0.0.1", web().plain);
}

TEST_CASE("nginx answers over https, by name and by address", "[nginx]") {
    for (const char* host : {"localhost", "127.0.0.1"}) {
        asio::io_context context;
        const auto client = http(context.get_executor(), tls().ca_file(web().ca()));
        serves(client, context, "https", host, web().good);
    }
}

namespace {
task<void> read_to_done(http_transport client, url where, bool& done) {
    auto answer = co_await client.send(http_request("GET", where));
    REQUIRE(answer);
    std::string text;
    while (text.find("[DONE]") == std::string::npos) {
        auto piece = co_await answer->read();
        REQUIRE(piece);
        REQUIRE_FALSE(piece->empty());
        text += piece->view();
    }
    answer->finish();
    done = true;
}
}  // namespace

TEST_CASE("an https stream that ends late leaves its connection to the next", "[nginx]") {
    using testing::server_reply;
    testing::http_server upstream([](const testing::server_request&) {
        return server_reply().event("x").event("[DONE]").pause(std::chrono::milliseconds(5));
    });
    temporary_folder folder;
    certificates made(folder);
    made.sign("good", "DNS:localhost,IP:127.0.0.1");
    const unsigned short port = free_port();
    nginx proxy(folder, "server { listen 127.0.0.1:" + std::to_string(port) +
                            " ssl; ssl_certificate " + made.file("good.pem") +
                            "; ssl_certificate_key " + made.file("good.key") +
                            "; location / { proxy_buffering off; proxy_http_version 1.1;"
                            " proxy_pass " +
                            upstream.origin() + "; } }\n");
    asio::io_context context;
    auto time = std::make_shared<hand_clock>(context.get_executor());
    asio::make_service<detail::clock_service>(context, time);
    const auto client = http(context.get_executor(), tls().ca_file(made.ca()));
    const auto run_until = [&](auto met) {
        context.restart();
        while (!met() && context.run_one_for(std::chrono::seconds(5)) > 0) {
        }
        return met();
    };
    for (int i = 0; i < 3; ++i) {
        bool done = false;
        asio::co_spawn(context, read_to_done(client, at("https", "localhost", port, "/"), done),
                       [](std::exception_ptr) {});
        REQUIRE(run_until([&] { return done; }));
        CHECK(client.connections().open == 1);
        CHECK(run_until([&] { return client.connections().idle == 1; }));
    }
}

TEST_CASE("nginx's refusal of a large upload arrives", "[nginx]") {
    asio::io_context context;
    for (const bool secure : {false, true}) {
        const auto client = http(context.get_executor(), tls().ca_file(web().ca()));
        const auto where = secure ? at("https", "127.0.0.1", web().good, "/echo")
                                  : at("http", "127.0.0.1", web().plain, "/echo");
        const auto got =
            run(context, client, {"POST", where, {}, bytes(std::string(8 << 20, 'y'))});
        REQUIRE(got.status);
        CHECK(*got.status == 413);
    }
}

TEST_CASE("a CA can be given as text", "[nginx]") {
    asio::io_context context;
    const auto client = http(context.get_executor(), tls().ca_pem(web().folder().read("ca.pem")));
    const auto got =
        run(context, client, {"GET", at("https", "localhost", web().good, "/small.json")});
    REQUIRE(got.status);
    CHECK(*got.status == 200);
}

TEST_CASE("SSL_CERT_FILE names the trusted CAs", "[nginx]") {
    CHECK(refusal(web().good, "localhost", tls()).kind() == error_kind::tls);
    ::setenv("SSL_CERT_FILE", web().ca().c_str(), 1);
    CHECK(refusal(web().good, "localhost", tls()).kind() == error_kind::unset);
    ::unsetenv("SSL_CERT_FILE");
}

TEST_CASE("a certificate of an unknown CA is refused", "[nginx]") {
    const error why = refusal(web().good, "localhost", tls());
    CHECK(why.kind() == error_kind::tls);
    CHECK(why.advice().find("ca_file") != std::string_view::npos);
}

TEST_CASE("a certificate for another host is refused", "[nginx]") {
    for (const char* host : {"localhost", "127.0.0.1"}) {
        const error why = refusal(web().other, host, tls().ca_file(web().ca()));
        CHECK(why.kind() == error_kind::tls);
        CHECK(why.message() == "the server's certificate is not for " + std::string(host));
    }
}

TEST_CASE("an expired certificate is refused", "[nginx]") {
    const error why = refusal(web().old, "localhost", tls().ca_file(web().ca()));
    CHECK(why.kind() == error_kind::tls);
    CHECK(why.message().find("expired") != std::string_view::npos);
}

TEST_CASE("verification can be switched off, loudly", "[nginx]") {
    CHECK(refusal(web().other, "localhost", tls().insecure_skip_verification()).kind() ==
          error_kind::unset);
    // In a process of its own, because it is said once in each.
    temporary_folder folder;
    const std::string log = (folder.path() / "log").string();
    CHECK(run_program({"/proc/self/exe", "the process that verifies nothing"}, log));
    const std::string said = folder.read("log");
    const std::string warning = "WARNING: TLS certificates are not verified";
    CHECK(said.find(warning) != std::string::npos);
    CHECK(said.find(warning) == said.rfind(warning));
}

TEST_CASE("the process that verifies nothing", "[.]") {
    for (int i = 0; i < 2; ++i) CHECK(encryption(tls().insecure_skip_verification()));
    CHECK(encryption(tls()));
}

TEST_CASE("https to a port that speaks http says so", "[nginx]") {
    const error why = refusal(web().plain, "localhost", tls());
    CHECK(why.kind() == error_kind::tls);
    CHECK(why.message().find("does not speak TLS") != std::string_view::npos);
    CHECK(why.advice().find("http://") != std::string_view::npos);
}

TEST_CASE("a CA file that cannot be read is a configuration error", "[nginx]") {
    const error why = refusal(web().good, "localhost", tls().ca_file("/nowhere/ca.pem"));
    CHECK(why.kind() == error_kind::configuration);
    CHECK(why.message().find("/nowhere/ca.pem") != std::string_view::npos);
}

}  // namespace test_integration_nginx
