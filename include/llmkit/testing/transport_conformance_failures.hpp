// llmkit/testing/transport_conformance_failures.hpp: checks of what a transport makes of mishaps.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <asio/ip/tcp.hpp>

#include <llmkit/testing/transport_conformance_answers.hpp>
#include <llmkit/testing/transport_conformance_rig.hpp>

namespace llmkit::detail {

/// A port whose queue of connections is full, so that connecting to it takes for ever.
class full_port {
public:
    explicit full_port(asio::io_context& context) : acceptor_(context) {
        acceptor_.open(asio::ip::tcp::v4());
        acceptor_.bind({asio::ip::address_v4::loopback(), 0});
        acceptor_.listen(0);
        for (int i = 0; i < 4; ++i) {
            fillers_.emplace_back(context);
            fillers_.back().open(asio::ip::tcp::v4());
            fillers_.back().async_connect(acceptor_.local_endpoint(), [](std::error_code) {});
        }
    }
    std::string origin() const {
        return "http://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
    }

private:
    asio::ip::tcp::acceptor acceptor_;
    std::vector<asio::ip::tcp::socket> fillers_;
};

/// An origin on this machine where nobody listens.
inline std::string deserted_origin() {
    asio::io_context context;
    const asio::ip::tcp::acceptor probe(context, {asio::ip::address_v4::loopback(), 0});
    return "http://127.0.0.1:" + std::to_string(probe.local_endpoint().port());
}

inline task<finding> finds_nobody(testing::any_transport with, std::string origin,
                                  error_kind kind) {
    auto got = co_await exchange(std::move(with), transport_rig::ask_at(origin));
    co_return fails(got, {kind});
}

inline task<finding> keeps_total_unread(transport_rig& on) {
    const clock_handle time = on.transport().clock();
    auto ask = on.ask();
    // Long enough for the head to be there, and a wait on an event, not on this time, comes below.
    ask.deadline.until = time.now() + std::chrono::milliseconds(500);
    auto answer = co_await on.transport().send(std::move(ask));
    if (!answer) co_return finding("it failed: " + answer.error().to_string());
    http_server& server = on.server;
    if (!co_await comes_true([&server] { return server.departures() == 1; }))
        co_return finding("its time is over and nobody reads, but the connection is still open");
    for (int reads = 0; reads < 3; ++reads) {
        auto piece = co_await answer->read();
        if (piece && piece->view() == "data: one\n\n" && reads == 0) continue;
        if (piece) co_return finding("its time is over, but a read succeeds");
        if (auto found = is_error(piece.error(), {error_kind::timeout}); !found.passed())
            co_return found;
    }
    co_return finding();
}

inline task<finding> keeps_a_past_deadline(transport_rig& on) {
    auto ask = on.ask();
    ask.deadline.until = on.transport().clock().now() - std::chrono::seconds(1);
    auto got = co_await exchange(on.transport(), std::move(ask));
    co_return fails(got, {error_kind::timeout});
}

inline task<finding> ends_when_closed(transport_rig& on) {
    const clock_handle time = on.transport().clock();
    wait_owner owner;
    owner.scope = &owner;
    auto ask = on.ask();
    ask.deadline.owner = &owner;
    // What a pipeline's close() does once its grace is over.
    asio::steady_timer soon(co_await asio::this_coro::executor, std::chrono::milliseconds(100));
    soon.async_wait([time, &owner](const std::error_code& failed) {
        if (!failed) time.timers().close(&owner);
    });
    auto got = co_await exchange(on.transport(), std::move(ask));
    co_return fails(got, {error_kind::closed});
}

/// A limit for one part of an exchange, as requests carry them.
using conformance_limit = void (*)(http_request&, time_point);

/// One exchange with a server that answers `reply`, under a limit, that must end in a timeout.
inline void add_limit_check(testing::transport_check_list& all, std::string name,
                            http_server::handler answer, conformance_limit set) {
    all.emplace_back(std::move(name), [answer, set](const testing::transport_maker& make) {
        transport_rig rig(make, answer);
        const auto once = [](transport_rig& on, conformance_limit limits) -> task<finding> {
            auto ask = on.ask("POST");
            limits(ask, on.transport().clock().now());
            auto got = co_await exchange(on.transport(), std::move(ask));
            auto found = fails(got, {error_kind::timeout});
            http_server& server = on.server;
            if (!found.passed()) co_return found;
            if (!co_await comes_true([&server] { return server.connected() == 0; }))
                co_return finding("the time is over, but the connection is still open");
            co_return found;
        };
        return rig.run(once(rig, set));
    });
}

inline void add_time_checks(testing::transport_check_list& all, bool direct) {
    using namespace std::chrono_literals;
    using testing::server_reply;
    const auto silence = always(server_reply().stall());
    const auto stall = always(server_reply().event("one").stall());
    const auto trickle = [](const testing::server_request&) {
        return server_reply().trickle(std::string(10'000, 'x'), 1, 5ms);
    };
    const conformance_limit first = [](http_request& ask, time_point) { ask.first_event = 50ms; };
    const conformance_limit idle = [](http_request& ask, time_point) { ask.idle = 50ms; };
    const conformance_limit total = [](http_request& ask, time_point now) {
        ask.deadline.until = now + 50ms;
    };
    add_limit_check(all, "a silent server is given up by the first-event limit", silence, first);
    add_limit_check(all, "a silent server is given up by the deadline", silence, total);
    add_limit_check(all, "a body that stalls is given up by the idle limit", stall, idle);
    add_limit_check(all, "a body that stalls is given up by the deadline", stall, total);
    add_limit_check(all, "a body that trickles is given up by the deadline", trickle, total);
    const auto add = [&all](std::string name, http_server::handler answer,
                            task<finding> (*check)(transport_rig&)) {
        all.emplace_back(std::move(name), [answer, check](const testing::transport_maker& make) {
            transport_rig rig(make, answer);
            return rig.run(check(rig));
        });
    };
    add("the deadline holds while nobody reads", stall, keeps_total_unread);
    add("a deadline that has passed is a timeout", always(server_reply()), keeps_a_past_deadline);
    add("closing the call's pipeline ends a wait for the head", silence, ends_when_closed);
    add("closing the call's pipeline ends a wait for the body", stall, ends_when_closed);
    if (!direct) return;
    all.emplace_back("connecting is given up by the connect limit and by the deadline",
                     [total](const testing::transport_maker& make) {
                         const conformance_limit connect = [](http_request& ask, time_point) {
                             ask.connect = 50ms;
                         };
                         for (const conformance_limit set : {connect, total}) {
                             transport_loop loop(make);
                             full_port port(loop.context());
                             const auto once = [](testing::any_transport with, std::string origin,
                                                  conformance_limit limits) -> task<finding> {
                                 auto ask = transport_rig::ask_at(origin);
                                 limits(ask, with.clock().now());
                                 auto got = co_await exchange(with, std::move(ask));
                                 co_return fails(got, {error_kind::timeout});
                             };
                             auto found = loop.run(once(loop.transport(), port.origin(), set));
                             if (!found.passed()) return found;
                         }
                         return finding();
                     });
}

inline void add_failure_checks(testing::transport_check_list& all, bool framing, bool strict) {
    using testing::server_reply;
    const auto is = [](std::initializer_list<error_kind> kinds) {
        return [wanted = std::vector(kinds)](const exchanged& got) {
            for (const error_kind kind : wanted)
                if (got.failure.kind() == kind) return fails(got, {kind});
            return fails(got, {wanted.front()});
        };
    };
    const auto cut = is({error_kind::truncated, error_kind::connection_lost});
    const auto lost = is({error_kind::connection_lost});
    add_exchange_check(all, "a body shorter than it was announced is no success",
                       always(server_reply().announce(1000).raw("only this").close()), cut);
    add_exchange_check(all, "a body reset in the middle is no success",
                       always(server_reply().announce(1000).raw("only this").reset()), cut);
    add_exchange_check(all, "a chunked body without its end is no success",
                       always(server_reply().event("one").close()), cut);
    const std::string head = "HTTP/1.1 200 OK\r\n";
    const std::string chunked = head + "Transfer-Encoding: chunked\r\n\r\n";
    add_exchange_check(all, "a chunk that is cut is no success",
                       always(server_reply().raw(chunked + "8\r\nhal").close()), cut);
    if (!framing) return;
    add_exchange_check(all, "a connection reset before the head is lost",
                       always(server_reply().reset()), lost);
    add_exchange_check(all, "a connection closed before the head is lost",
                       always(server_reply().close()), lost);
    for (const auto& [name, kind] :
         {std::pair("a port where nobody listens is an error of kind connect", error_kind::connect),
          std::pair("a host without an address is an error of kind resolve", error_kind::resolve)})
        all.emplace_back(name, [wanted = kind](const testing::transport_maker& make) {
            transport_loop loop(make);
            const bool nobody = wanted == error_kind::connect;
            const std::string origin = nobody ? deserted_origin() : "http://nobody.invalid";
            return loop.run(finds_nobody(loop.transport(), origin, wanted));
        });
    const auto broken = is({error_kind::protocol});
    add_exchange_check(all, "a head that is cut is no success",
                       always(server_reply().raw(head + "Content-Le").close()), cut);
    add_exchange_check(all, "what is no chunk is an error of kind protocol",
                       always(server_reply().raw(chunked + "4\r\nfour\r\nwhat?\r\n").stall()),
                       broken);
    add_exchange_check(all, "what is no HTTP is an error of kind protocol",
                       always(server_reply().raw("SSH-2.0-OpenSSH_9.2\r\n\r\n").close()), broken);
    if (!strict) return;
    add_exchange_check(all, "an answer of two lengths is an error of kind protocol",
                       always(server_reply()
                                  .raw(head + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nfourx")
                                  .close()),
                       broken);
    add_exchange_check(
        all, "a folded header is an error of kind protocol",
        always(server_reply().raw(head + "X-A: b\r\n c\r\nContent-Length: 4\r\n\r\nfour").close()),
        broken);
}

inline void add_size_checks(testing::transport_check_list& all, bool framing) {
    using testing::server_reply;
    using testing::server_request;
    // A peer with an endless head is broken as well as too large.
    const auto add = [&all](std::string name, http_server::handler answer,
                            error_kind other = error_kind::too_large) {
        all.emplace_back(std::move(name), [answer, other](const testing::transport_maker& make) {
            transport_rig rig(make, answer);
            const auto once = [](transport_rig& on, error_kind kind) -> task<finding> {
                auto ask = on.ask();
                ask.max_body = 1000;
                auto got = co_await exchange(on.transport(), std::move(ask));
                if (got.body.size() > 1000) co_return finding("it gave more than max_body");
                co_return fails(got, {error_kind::too_large, kind});
            };
            return rig.run(once(rig, other));
        });
    };
    add("an announced body over max_body is refused",
        always(server_reply().body(std::string(1001, 'x'))));
    add("a chunked body over max_body is refused", [](const server_request&) {
        return server_reply().chunk(std::string(1 << 20, 'x')).stall();
    });
    if (!framing) return;
    static constexpr const char* head = "HTTP/1.1 200 OK\r\n";
    add("a body until close over max_body is refused", [](const server_request&) {
        return server_reply().raw(head).raw("\r\n" + std::string(1 << 20, 'x')).stall();
    });
    add(
        "a head of too many headers is refused",
        [](const server_request&) {
            auto reply = server_reply().raw(head);
            for (int i = 0; i < 100'000; ++i) reply.raw("X-Y: 0123456789\r\n");
            return reply.stall();
        },
        error_kind::protocol);
    add(
        "a head with an endless header is refused",
        [](const server_request&) {
            return server_reply().raw(head).raw("X: " + std::string(1 << 20, 'x')).stall();
        },
        error_kind::protocol);
}

}  // namespace llmkit::detail
