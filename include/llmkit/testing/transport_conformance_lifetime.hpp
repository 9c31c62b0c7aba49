// llmkit/testing/transport_conformance_lifetime.hpp: checks of calls that end otherwise, and of many.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <llmkit/core/child.hpp>
#include <llmkit/testing/transport_conformance_failures.hpp>
#include <llmkit/testing/transport_conformance_requests.hpp>
#include <llmkit/testing/transport_conformance_rig.hpp>

namespace llmkit::detail {

/// Waits for a call that was cancelled.
inline task<finding> ends_cancelled(child<exchanged>& call) {
    exchanged got;
    try {
        got = co_await call.join();
    } catch (const asio::system_error& thrown) {
        co_return expect(is_cancellation(thrown), "it threw something else than a cancellation");
    }
    co_return finding("it was cancelled, but came back " +
                      (got.failed() ? "with an error: " + got.failure.to_string()
                                    : std::string("with an answer")));
}

inline task<finding> frees_when_cancelled(transport_rig& on) {
    http_server& server = on.server;
    child<exchanged> call(on.transport().clock(), exchange(on.transport(), on.ask()));
    if (!co_await comes_true([&server] { return server.requests() == 1; }))
        co_return finding("the request never arrived");
    co_await sleep_for(on.transport().clock(), std::chrono::milliseconds(20));
    call.cancel();
    auto found = co_await ends_cancelled(call);
    if (!found.passed()) co_return found;
    const bool left = co_await comes_true([&server] { return server.departures() == 1; });
    co_return expect(left, "the call was cancelled, but its connection is still open");
}

inline task<finding> frees_when_dropped(transport_rig& on, int reads) {
    http_server& server = on.server;
    std::optional<http_response> answer;
    {
        auto got = co_await on.transport().send(on.ask());
        if (!got) co_return finding("it failed: " + got.error().to_string());
        answer.emplace(std::move(*got));
    }
    for (int i = 0; i < reads; ++i) {
        auto piece = co_await answer->read();
        if (!piece) co_return finding("it failed: " + piece.error().to_string());
    }
    answer.reset();
    const bool left = co_await comes_true([&server] { return server.departures() == 1; });
    co_return expect(left, "the answer was dropped, but its connection is still open");
}

inline task<finding> fails_after_cancelled_read(transport_rig& on) {
    auto answer = co_await on.transport().send(on.ask());
    if (!answer) co_return finding("it failed: " + answer.error().to_string());
    auto first = co_await answer->read();
    if (!first) co_return finding("it failed: " + first.error().to_string());
    const auto read = [](http_response& from) -> task<exchanged> {
        auto piece = co_await from.read();
        exchanged got;
        if (!piece) got.failure = piece.error();
        co_return got;
    };
    {
        child<exchanged> reading(on.transport().clock(), read(*answer));
        co_await sleep_for(on.transport().clock(), std::chrono::milliseconds(20));
        reading.cancel();
        auto found = co_await ends_cancelled(reading);
        if (!found.passed()) co_return found;
    }
    auto again = co_await answer->read();
    if (again) co_return finding("its read was cancelled, but the next one succeeds");
    co_return is_error(again.error(), {error_kind::closed, error_kind::connection_lost});
}

inline task<finding> goes_on_after_finish(transport_rig& on) {
    for (int i = 0; i < 3; ++i) {
        auto answer = co_await on.transport().send(on.ask());
        if (!answer) co_return finding("it failed: " + answer.error().to_string());
        auto first = co_await answer->read();
        if (!first) co_return finding("it failed: " + first.error().to_string());
        answer->finish();
        auto end = co_await answer->read();
        if (!end || !end->empty()) co_return finding("after finish() there should be nothing");
    }
    co_return finding();
}

inline task<finding> serves_many(transport_rig& on) {
    std::vector<child<exchanged>> calls;
    for (std::size_t i = 0; i < 200; ++i)
        calls.emplace_back(
            on.transport().clock(),
            exchange(on.transport(), on.ask("POST", "/p", bytes(fmt::format("{}", i)))));
    for (std::size_t i = 0; i < calls.size(); ++i) {
        auto got = co_await calls[i].join();
        auto found = brings(got, 200, fmt::format("{}", i));
        if (!found.passed()) co_return finding(fmt::format("call {}: {}", i, found.text()));
    }
    co_return expect(on.server.requests() == 200, "some calls arrived twice");
}

inline task<finding> calls_in_a_row(testing::any_transport with, http_request ask, int count) {
    for (int i = 0; i < count; ++i) {
        auto got = co_await exchange(with, ask);
        auto found = brings(got, 200, "pong");
        if (!found.passed()) co_return finding(fmt::format("call {}: {}", i, found.text()));
    }
    co_return finding();
}

inline task<finding> uses_connections_again(transport_rig& on) {
    auto found = co_await calls_in_a_row(on.transport(), on.ask(), 20);
    if (!found.passed()) co_return found;
    co_return expect(on.server.connections() == 1,
                     fmt::format("20 calls took {} connections", on.server.connections()));
}
inline task<finding> survives_stale_connections(transport_rig& on) {
    auto found = co_await calls_in_a_row(on.transport(), on.ask("POST"), 10);
    if (!found.passed()) co_return found;
    co_return expect(on.server.requests() == 10, "some calls arrived twice");
}

/// A call that is interrupted after so many events of its loop.
class interrupted_call {
public:
    interrupted_call(const http_server& server, const testing::transport_maker& make) : loop(make) {
        auto ask = transport_rig::ask_at(server.origin(), "POST", "/p", bytes(std::string(9, 'x')));
        ask.idle = ask.first_event = conformance_patience;
        asio::co_spawn(loop.context(), exchange(loop.transport(), std::move(ask)),
                       asio::bind_cancellation_slot(
                           stop_.slot(), [this](std::exception_ptr thrown, exchanged got) {
                               done = true;
                               threw = thrown != nullptr;
                               outcome = std::move(got);
                           }));
    }
    /// False when the call had ended before.
    bool step(int events) {
        for (int i = 0; i < events && !done; ++i) loop.context().run_one_for(conformance_patience);
        return !done;
    }
    void cancel() { stop_.emit(asio::cancellation_type::terminal); }

    transport_loop loop;
    bool done = false;
    bool threw = false;
    exchanged outcome;

private:
    asio::cancellation_signal stop_;
};

inline testing::server_reply conformance_pieces(const testing::server_request&) {
    const auto pause = std::chrono::milliseconds(1);
    return testing::server_reply().pause(pause).chunk("po").pause(pause).chunk("ng").pause(pause);
}

/// Nobody is being answered any more, as far as the server knows.
inline bool all_quiet(const http_server& server) {
    const auto end = std::chrono::steady_clock::now() + conformance_patience;
    while (server.in_flight() > 0 && std::chrono::steady_clock::now() < end)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return server.in_flight() == 0;
}

inline finding cancelled_anywhere(const testing::transport_maker& make) {
    http_server server(conformance_pieces);
    int events = 0;
    for (bool in_time = true; in_time; ++events) {
        interrupted_call call(server, make);
        in_time = call.step(events);
        call.cancel();
        if (!call.loop.run_until([&] { return call.done; }))
            return finding(fmt::format("cancelled after {} events, it never ended", events));
        if (!call.threw) {
            const auto found = brings(call.outcome, 200, "pong");
            if (!found.passed()) return finding("cancelled, " + found.text());
        }
        const auto ask = transport_rig::ask_at(server.origin());
        auto next = call.loop.run(calls_in_a_row(call.loop.transport(), ask, 1));
        if (!next.passed()) return finding("after a cancelled call, " + next.text());
    }
    return expect(events > 2 && all_quiet(server), "a cancelled call left something behind");
}

inline finding context_dropped_anywhere(const testing::transport_maker& make) {
    http_server server(conformance_pieces);
    for (const bool transport_first : {false, true}) {
        int events = 0;
        for (bool in_time = true; in_time; ++events) {
            interrupted_call call(server, make);
            in_time = call.step(events);
            if (transport_first) call.loop.drop_transport();
            call.loop.drop_context();
        }
    }
    return expect(all_quiet(server), "the io_context is gone, but connections are open");
}

inline finding transport_dropped(const testing::transport_maker& make) {
    http_server server(conformance_pieces);
    interrupted_call call(server, make);
    call.loop.drop_transport();
    if (!call.loop.run_until([&] { return call.done; }))
        return finding("the transport was dropped, and a call in flight never ended");
    if (call.threw) return finding("the transport was dropped, and a call in flight threw");
    auto found = brings(call.outcome, 200, "pong");
    if (!found.passed()) return found;
    return expect(call.loop.run_until([&] { return call.loop.context().stopped(); }),
                  "the transport was dropped and no call is left, but its loop never ends");
}

inline finding answer_outlives(const testing::transport_maker& make) {
    http_server server(always(testing::server_reply().event("one").stall()));
    std::optional<http_response> kept;
    {
        transport_loop loop(make);
        const auto keep = [](testing::any_transport with, http_request ask,
                             std::optional<http_response>& where) -> task<finding> {
            auto answer = co_await with.send(std::move(ask));
            if (!answer) co_return finding("it failed: " + answer.error().to_string());
            where.emplace(std::move(*answer));
            co_return finding();
        };
        auto found = loop.run(keep(loop.transport(), transport_rig::ask_at(server.origin()), kept));
        if (!found.passed()) return found;
    }
    const bool left = all_quiet(server);
    kept.reset();
    return expect(left, "the io_context is gone, but an answer's connection is open");
}

inline finding serves_threads(const testing::transport_maker& make) {
    transport_rig rig(make, conformance_pong);
    auto& context = rig.loop.context();
    std::mutex mutex;
    finding found;
    std::atomic<int> ended{0};
    for (int i = 0; i < 16; ++i)
        asio::co_spawn(asio::make_strand(context), calls_in_a_row(rig.transport(), rig.ask(), 25),
                       [&](std::exception_ptr thrown, finding one) {
                           std::lock_guard lock(mutex);
                           if (thrown) one = finding("a call threw");
                           if (!one.passed()) found = one;
                           ++ended;
                       });
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&context] { context.run_for(conformance_patience); });
    for (auto& thread : threads) thread.join();
    if (!found.passed()) return found;
    return expect(ended == 16 && rig.server.requests() == 400, "some calls never came back");
}

inline void add_connect_cancel_check(testing::transport_check_list& all) {
    all.emplace_back(
        "cancelling a call that connects ends it", [](const testing::transport_maker& make) {
            transport_loop loop(make);
            full_port port(loop.context());
            const auto cancels = [](testing::any_transport with,
                                    std::string origin) -> task<finding> {
                child<exchanged> call(with.clock(), exchange(with, transport_rig::ask_at(origin)));
                co_await sleep_for(with.clock(), std::chrono::milliseconds(20));
                call.cancel();
                co_return co_await ends_cancelled(call);
            };
            return loop.run(cancels(loop.transport(), port.origin()));
        });
}

inline void add_lifetime_checks(testing::transport_check_list& all,
                                const testing::transport_abilities& able) {
    using testing::server_reply;
    using testing::server_request;
    using testing::transport_maker;
    const auto add = [&all](std::string name, http_server::handler answer,
                            task<finding> (*check)(transport_rig&)) {
        all.emplace_back(std::move(name), [answer, check](const transport_maker& make) {
            transport_rig rig(make, answer);
            return rig.run(check(rig));
        });
    };
    const auto silence = always(server_reply().stall());
    const auto stall = always(server_reply().event("one").stall());

    add("cancelling a call that waits for its head frees its connection", silence,
        frees_when_cancelled);
    add("cancelling a call that reads its body frees its connection", stall, frees_when_cancelled);
    add("dropping an answer before it is read frees its connection", stall,
        [](transport_rig& on) { return frees_when_dropped(on, 0); });
    add("dropping an answer in the middle frees its connection", stall,
        [](transport_rig& on) { return frees_when_dropped(on, 1); });
    add("after a cancelled read the body is an error", stall, fails_after_cancelled_read);
    add("after finish() there is nothing to read, and the next call is served",
        always(server_reply().event("one").event("[DONE]")), goes_on_after_finish);
    add(
        "two hundred calls at once are all served",
        [](const server_request& ask) {
            return server_reply().pause(std::chrono::milliseconds(3)).body(ask.body);
        },
        serves_many);
    all.emplace_back("a call can be cancelled at every point and leaves nothing behind",
                     cancelled_anywhere);
    all.emplace_back("the io_context can be dropped at every point of a call",
                     context_dropped_anywhere);
    all.emplace_back("a transport can be dropped with a call in flight", transport_dropped);
    all.emplace_back("an answer may outlive its transport and its io_context", answer_outlives);
    if (able.many_threads) all.emplace_back("calls may come from several threads", serves_threads);
    if (able.http1_framing) add_connect_cancel_check(all);
    if (!able.reuses_connections) return;
    add("a connection serves the next call", conformance_pong, uses_connections_again);
    add("a connection that the server closed meanwhile costs no call",
        always(server_reply().body("pong").close()), survives_stale_connections);
}

}  // namespace llmkit::detail
