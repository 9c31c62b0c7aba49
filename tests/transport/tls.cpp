#include <llmkit/transport/http.hpp>
#include <llmkit/transport/tls.hpp>

#include "raw_server.hpp"
#include "test.hpp"
#include "tls_server.hpp"

namespace test_transport_tls {

using namespace llmkit;
using namespace llmkit_test;

namespace {

/// The certificates of all tests here.
class authority {
public:
    authority() : made(folder) {
        made.sign("good", "DNS:localhost,IP:127.0.0.1");
        made.sign("client", "DNS:client");
        made.sign("other", "DNS:other");
        if (!run_program({"openssl", "pkey", "-in", made.file("client.key"), "-aes256", "-passout",
                          "pass:secret", "-out", made.file("locked.key")},
                         made.file("openssl.log")))
            throw std::runtime_error("openssl pkey failed");
    }
    temporary_folder folder;
    certificates made;
};
const authority& all_made() {
    static const authority one;
    return one;
}
const certificates& made() { return all_made().made; }
const temporary_folder& made_folder() { return all_made().folder; }
tls trusting() { return tls().ca_file(made().ca()); }

task<void> once(std::shared_ptr<tls_peer> client) {
    std::string text;
    if (co_await client->request(text))
        co_await client->send(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfour");
}

struct answered {
    error failed;
    std::string body;
};
task<void> ask(http_transport client, http_request what, answered& into) {
    auto answer = co_await client.send(std::move(what));
    if (!answer) {
        into.failed = answer.error();
        co_return;
    }
    auto text = co_await answer->read_all();
    if (text) into.body = *text;
    if (!text) into.failed = text.error();
}
answered run(asio::io_context& context, const http_transport& client, http_request what) {
    answered got;
    run_test(context, ask(client, std::move(what), got));
    return got;
}

void limit_to_1_2(asio::ssl::context& with) {
    SSL_CTX_set_max_proto_version(with.native_handle(), TLS1_2_VERSION);
}
/// All servers that have this take the sessions of each other.
void one_ticket_key(asio::ssl::context& with) {
    char key[80] = {};
    SSL_CTX_set_tlsext_ticket_keys(with.native_handle(), key, sizeof key);
}
void ask_for_certificate(asio::ssl::context& with) {
    with.load_verify_file(made().ca());
    with.set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert);
}

/// Talks and listens at once: a client that did only one of it would wait for ever.
task<void> overlaps(std::shared_ptr<tls_peer> client) {
    co_await client->more();
    co_await client->send("HTTP/1.1 200 OK\r\nContent-Length: 6000000\r\n\r\n");
    for (int i = 0; i < 60; ++i) {
        co_await client->send(std::string(100'000, 'x'));
        co_await client->more();
    }
    bool here = true;
    while (here) here = co_await client->more();
}

task<void> until_the_end(std::shared_ptr<tls_peer> client, bool said) {
    std::string text;
    if (!co_await client->request(text)) co_return;
    co_await client->send("HTTP/1.1 200 OK\r\n\r\nall there is");
    if (said) co_await client->say_end();
}

ssl_session_st* session_of(int version, long timeout) {
    SSL_SESSION* const one = SSL_SESSION_new();
    SSL_SESSION_set_protocol_version(one, version);
    SSL_SESSION_set_time(one, static_cast<long>(std::time(nullptr)));
    SSL_SESSION_set_timeout(one, timeout);
    return one;
}

}  // namespace

TEST_CASE("later connections to a server resume a session", "[tls]") {
    const bool old = GENERATE(false, true);
    asio::io_context context;
    tls_server server(context, made(), once, old ? limit_to_1_2 : tls_server::setting());
    const auto client = http(context.get_executor(), trusting());
    for (int i = 0; i < 4; ++i) CHECK(run(context, client, get(server.url())).body == "four");
    CHECK(server.resumed() == std::vector<bool>{false, true, true, true});
    CHECK(client.connections().tls_handshakes == 4);
    CHECK(client.connections().tls_resumed == 3);
}

TEST_CASE("a session is resumed only by its transport and for its host name", "[tls]") {
    asio::io_context context;
    tls_server server(context, made(), once);
    const auto client = http(context.get_executor(), trusting());
    CHECK(run(context, client, get(server.url())).body == "four");
    CHECK(run(context, client, get(server.url("127.0.0.1"))).body == "four");
    const auto other = http(context.get_executor(), trusting());
    CHECK(run(context, other, get(server.url())).body == "four");
    CHECK(server.resumed() == std::vector<bool>{false, false, false});
}

TEST_CASE("a session is not shown to another port of its host", "[tls]") {
    asio::io_context context;
    tls_server server(context, made(), once, one_ticket_key);
    tls_server other(context, made(), once, one_ticket_key);
    const auto client = http(context.get_executor(), trusting());
    for (int i = 0; i < 2; ++i) {
        CHECK(run(context, client, get(server.url())).body == "four");
        CHECK(run(context, client, get(other.url())).body == "four");
    }
    CHECK(server.resumed() == std::vector<bool>{false, true});
    CHECK(other.resumed() == std::vector<bool>{false, true});
}

TEST_CASE("a host's final dot is not part of the name that TLS knows", "[tls]") {
    detail::channel_peer peer;
    peer.host = "example.org.";
    const encryption secure = trusting();
    auto over = secure.maker().make(peer);
    REQUIRE(over);
    CHECK_FALSE((*over)->handshake().value());
    const asio::const_buffer sent = (*over)->unsent();
    const std::string_view hello(static_cast<const char*>(sent.data()), sent.size());
    CHECK(hello.find("example.org") != std::string_view::npos);  // SNI
    CHECK(hello.find("example.org.") == std::string_view::npos);
}

TEST_CASE("a CA text that is none, or not to its end, is a configuration error", "[tls]") {
    asio::io_context context;
    tls_server server(context, made(), once);
    const std::string good = made_folder().read("ca.pem");
    const auto failure = [&](const std::string& text) {
        return run(context, http(context.get_executor(), tls().ca_pem(text)), get(server.url()))
            .failed.kind();
    };
    CHECK(failure(good) == error_kind::unset);
    CHECK(failure("no certificate") == error_kind::configuration);
    CHECK(failure(good.substr(0, good.size() / 2)) == error_kind::configuration);
    CHECK(failure(good + "-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n") ==
          error_kind::configuration);
}

TEST_CASE("a ticket of TLS 1.3 serves once, a session of TLS 1.2 again and again", "[tls]") {
    detail::tls_sessions sessions;
    sessions.keep("a", detail::ssl_session(session_of(TLS1_3_VERSION, 60)));
    sessions.keep("a", detail::ssl_session(session_of(TLS1_3_VERSION, 60)));
    CHECK(sessions.take("b") == nullptr);
    const auto one = sessions.take("a");
    const auto two = sessions.take("a");
    CHECK((one && two && one != two));
    CHECK(sessions.take("a") == nullptr);

    sessions.keep("a", detail::ssl_session(session_of(TLS1_2_VERSION, 60)));
    for (int i = 0; i < 3; ++i) CHECK(sessions.take("a") != nullptr);
}

TEST_CASE("sessions are bounded in age and number", "[tls]") {
    detail::tls_sessions sessions;
    sessions.keep("a", detail::ssl_session(session_of(TLS1_3_VERSION, 0)));
    CHECK(sessions.take("a") == nullptr);

    for (std::size_t i = 0; i < 3 * detail::tls_sessions::max_per_peer; ++i)
        sessions.keep("a", detail::ssl_session(session_of(TLS1_3_VERSION, 60)));
    std::size_t count = 0;
    while (sessions.take("a")) ++count;
    CHECK(count == detail::tls_sessions::max_per_peer);

    for (std::size_t i = 0; i < 3 * detail::tls_sessions::max_peers; ++i) {
        sessions.keep(std::to_string(i), detail::ssl_session(session_of(TLS1_3_VERSION, 60)));
        CHECK((i % 7 != 0 || sessions.take(std::to_string(i))));
    }
    count = 0;
    for (std::size_t i = 0; i < 3 * detail::tls_sessions::max_peers; ++i)
        if (sessions.take(std::to_string(i))) ++count;
    CHECK(count <= detail::tls_sessions::max_peers);
    CHECK(count > detail::tls_sessions::max_peers / 2);
}

TEST_CASE("a client certificate is shown to a server that asks for one", "[tls]") {
    asio::io_context context;
    std::string seen;
    const auto tells = [&seen](std::shared_ptr<tls_peer> client) -> task<void> {
        char name[64] = "";
        X509* const shown = SSL_get_peer_certificate(client->native());
        if (shown)
            X509_NAME_get_text_by_NID(X509_get_subject_name(shown), NID_commonName, name, 64);
        X509_free(shown);
        seen = name;
        return once(std::move(client));
    };
    tls_server server(context, made(), tells, ask_for_certificate);
    const auto with =
        http(context.get_executor(),
             trusting().client_certificate(made().file("client.pem"), made().file("client.key")));
    CHECK(run(context, with, get(server.url())).body == "four");
    CHECK(seen == "client");
    const auto without = run(context, http(context.get_executor(), trusting()), get(server.url()));
    CHECK(without.failed.kind() == error_kind::connection_lost);
    CHECK(without.failed.message().find("certificate required") != std::string_view::npos);
}

TEST_CASE("a client certificate that cannot be used is a configuration error", "[tls]") {
    asio::io_context context;
    tls_server server(context, made(), once);
    const auto failure = [&](const std::string& certificate, const std::string& key) {
        const auto client =
            http(context.get_executor(),
                 trusting().client_certificate(made().file(certificate), made().file(key)));
        return run(context, client, get(server.url())).failed;
    };
    const error locked = failure("client.pem", "locked.key");
    CHECK(locked.kind() == error_kind::configuration);
    CHECK(locked.message().find("is encrypted") != std::string_view::npos);
    CHECK(locked.advice().find("openssl pkey") != std::string_view::npos);
    const error unfit = failure("client.pem", "other.key");
    CHECK(unfit.kind() == error_kind::configuration);
    CHECK(unfit.message().find("other.key") != std::string_view::npos);
    const error none = failure("nowhere.pem", "client.key");
    CHECK(none.kind() == error_kind::configuration);
    CHECK(none.message().find("nowhere.pem") != std::string_view::npos);
    CHECK(server.resumed().empty());
}

TEST_CASE("TLS 1.3 can be required", "[tls]") {
    asio::io_context context;
    tls_server server(context, made(), once, limit_to_1_2);
    const auto client = http(context.get_executor(), trusting().require_1_3());
    const error why = run(context, client, get(server.url())).failed;
    CHECK(why.kind() == error_kind::tls);
    CHECK(why.message().find("offers no TLS version that is allowed here") !=
          std::string_view::npos);
    CHECK(why.advice().find("require_1_3") != std::string_view::npos);
}

TEST_CASE("a body that lasts until the end of the connection is whole only if TLS says so",
          "[tls]") {
    asio::io_context context;
    for (const bool said : {true, false}) {
        tls_server server(context, made(), [said](std::shared_ptr<tls_peer> client) {
            return until_the_end(std::move(client), said);
        });
        const auto client = http(context.get_executor(), trusting());
        const auto got = run(context, client, get(server.url()));
        CHECK(got.failed.kind() == (said ? error_kind::unset : error_kind::truncated));
        CHECK(got.body == (said ? "all there is" : ""));
    }
}

TEST_CASE("the server of a connection that is closed hears so, and is not cut off", "[tls]") {
    asio::io_context servers;
    std::vector<std::error_code> ends;
    const auto listens = [&ends](std::shared_ptr<tls_peer> client) -> task<void> {
        std::string text;
        while (co_await client->request(text))
            co_await client->send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour");
        ends.push_back(client->ended);
    };
    tls_server server(servers, made(), listens);
    const auto once_ended = [&](std::size_t count) {
        servers.restart();
        while (ends.size() < count && servers.run_one_for(std::chrono::seconds(30)) > 0) {
        }
        return ends.size() == count && ends.back() == asio::error::eof;
    };
    const auto called = [&](asio::io_context& context, const http_transport& client) {
        answered got;
        bool done = false;
        asio::co_spawn(context, ask(client, get(server.url()), got),
                       [&](std::exception_ptr) { done = true; });
        context.restart();
        while (!done) {
            context.poll();
            servers.poll();
        }
        return got.body == "four";
    };
    {
        asio::io_context context;
        const auto client = http(context.get_executor(), trusting());
        CHECK(called(context, client));
        CHECK(called(context, client));
    }
    CHECK(once_ended(1));  // the transport goes, and its idle connection
    {
        asio::io_context context;
        const auto client = http(context.get_executor(), trusting(), {.max_idle = 0});
        CHECK(called(context, client));
        CHECK(once_ended(2));  // one connection too many
    }
    std::optional<http_transport> client;
    {
        asio::io_context context;
        client = http(context.get_executor(), trusting());
        CHECK(called(context, *client));
    }
    CHECK(once_ended(3));  // the context goes, and the transport stays
}

TEST_CASE("a large request and a large answer pass at the same time", "[tls]") {
    asio::io_context context;
    tls_server server(context, made(), overlaps);
    const auto client = http(context.get_executor(), trusting());
    http_request post("POST", server.url(), {}, bytes(std::string(6'000'000, 'y')));
    const auto got = run(context, client, std::move(post));
    CHECK(got.failed.kind() == error_kind::unset);
    CHECK(got.body.size() == 6'000'000);
}

}  // namespace test_transport_tls
