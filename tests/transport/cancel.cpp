#include <optional>

#include <llmkit/transport/http.hpp>

#include "raw_server.hpp"
#include "test.hpp"

namespace test_transport_cancel {

using namespace llmkit;
using namespace llmkit_test;

namespace {

task<void> in_pieces(std::shared_ptr<peer> client, std::size_t) {
    const clock_handle time(co_await asio::this_coro::executor);
    std::string text;
    while (co_await client->request(text)) {
        co_await sleep_for(time, 1ms);
        co_await client->send("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nfour");
        co_await sleep_for(time, 1ms);
        co_await client->send("four");
        co_await sleep_for(time, 1ms);
        co_await client->send("four");
    }
}

enum class ended { not_yet, whole, cancelled, failed };

task<void> call(http_transport client, http_request ask, ended& how) {
    how = ended::cancelled;  // unless something else is said below
    auto answer = co_await client.send(std::move(ask));
    how = ended::failed;
    if (!answer) co_return;
    how = ended::cancelled;
    auto text = co_await answer->read_all();
    how = text && *text == "fourfourfour" ? ended::whole : ended::failed;
}

/// A call in a context that is run event by event.
class stepped {
public:
    /// `busy`: the only connection is taken, so that the call waits for it.
    stepped(std::string host, bool busy)
        : server(std::in_place, *context, in_pieces),
          client(http(context->get_executor(), {.max_connections = 1})) {
        if (busy) asio::co_spawn(*context, call(*client, ask(host), first), asio::detached);
        if (busy) context->poll();
        asio::co_spawn(*context, call(*client, ask(host), second),
                       asio::bind_cancellation_slot(cancel.slot(), [this](std::exception_ptr e) {
                           done = true;
                           if (!e) return;
                           try {
                               std::rethrow_exception(e);
                           } catch (const asio::system_error& failed) {
                               threw = is_cancellation(failed);
                           }
                       }));
    }
    http_request ask(const std::string& host) const {
        auto made = http_request("POST", server->url("/", host), {}, bytes(std::string(100, 'x')));
        made.idle = made.first_event = 5s;
        return made;
    }

    std::optional<asio::io_context> context{std::in_place};
    std::optional<raw_server> server;
    std::optional<http_transport> client;
    asio::cancellation_signal cancel;
    ended first = ended::not_yet;
    ended second = ended::not_yet;
    bool done = false;
    bool threw = false;
};

// Cancels after `events`; false when the call had already ended by then.
bool cancelled_after(int events, const std::string& host, bool busy) {
    stepped it(host, busy);
    for (int i = 0; i < events && !it.done; ++i) it.context->run_one();
    const bool in_time = !it.done;
    it.cancel.emit(asio::cancellation_type::terminal);
    const auto start = std::chrono::steady_clock::now();
    while (!it.done || it.client->connections().open > it.client->connections().idle)
        it.context->run_one_for(1s);
    CHECK(std::chrono::steady_clock::now() - start < 1s);
    if (it.threw) CHECK((it.second == ended::cancelled || it.second == ended::not_yet));
    if (!it.threw) CHECK(it.second == ended::whole);
    if (busy) CHECK(it.first == ended::whole);
    CHECK(it.client->connections().waiting == 0);

    ended again = ended::not_yet;
    run_test(*it.context, call(*it.client, it.ask(host), again));
    CHECK(again == ended::whole);
    return in_time;
}

// Lets the context go after `events`, before or after the transport.
bool dropped_after(int events, const std::string& host, bool busy, bool transport_first) {
    stepped it(host, busy);
    for (int i = 0; i < events && !it.done; ++i) it.context->run_one();
    const bool in_time = !it.done;
    if (transport_first) it.client.reset();
    it.server.reset();
    it.context.reset();
    it.client.reset();
    return in_time;
}

task<void> keep(http_transport client, http_request ask, std::optional<http_response>& kept) {
    auto answer = co_await client.send(std::move(ask));
    if (answer) kept.emplace(std::move(*answer));
}

}  // namespace

TEST_CASE("a call can be cancelled at every point and leaves nothing behind", "[cancel]") {
    for (const bool busy : {false, true}) {
        int events = 0;
        while (cancelled_after(events, events % 2 ? "localhost" : "127.0.0.1", busy)) ++events;
        CHECK(events > 10);
    }
}

TEST_CASE("an io_context can be dropped at every point of a call", "[cancel]") {
    for (const bool busy : {false, true}) {
        for (const bool transport_first : {false, true}) {
            int events = 0;
            while (dropped_after(events, events % 2 ? "localhost" : "127.0.0.1", busy,
                                 transport_first))
                ++events;
            CHECK(events > 10);
        }
    }
}

TEST_CASE("an answer may outlive its transport and its io_context", "[cancel]") {
    std::optional<http_response> kept;
    {
        asio::io_context context;
        raw_server server(context, in_pieces);
        std::string why;
        run_test(context, keep(http(context.get_executor()), get(server.url()), kept));
    }
    REQUIRE(kept);
    CHECK(kept->status() == 200);
    kept.reset();
}

}  // namespace test_transport_cancel
