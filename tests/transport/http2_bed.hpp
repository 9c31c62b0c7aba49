// What the HTTP/2 tests stand on: a context with a clock by hand, a scripted server, a client.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/core/child.hpp>
#include <llmkit/testing/http2_server.hpp>
#include <llmkit/transport/http.hpp>
#include <llmkit/transport/http2.hpp>

#include "hand_clock.hpp"
#include "raw_server.hpp"

namespace llmkit_test {

using llmkit::testing::http2_ask;
using llmkit::testing::http2_peer;
using llmkit::testing::http2_server;
using peer_ptr = std::shared_ptr<http2_peer>;

inline llmkit::http_transport http2_client(const llmkit::executor& where,
                                           const llmkit::http_policy& policy = {},
                                           llmkit::http2 how = llmkit::http2()) {
    return llmkit::http(where, llmkit::http_options().policy(policy).http2(how.prior_knowledge()));
}

inline void pong(const peer_ptr& peer, const http2_ask& ask) {
    peer->respond(ask.stream, 200, {}, "pong");
}

/// What came of one call.
struct outcome {
    bool done = false;
    int status = 0;
    llmkit::headers fields;
    llmkit::result<std::string> body;
    bool well() const { return done && body && *body == "pong"; }
};

inline llmkit::task<void> fetch_into(llmkit::http_transport client, llmkit::http_request ask,
                                     std::shared_ptr<outcome> into) {
    auto answer = co_await client.send(std::move(ask));
    if (answer) {
        into->status = answer->status();
        into->fields = answer->fields();
        into->body = co_await answer->read_all();
    } else {
        into->body = answer.error();
    }
    into->done = true;
}

/// One context, one server, one client; runs until something is so.
class bed {
public:
    explicit bed(http2_server::handler answer, const llmkit::http_policy& policy = {},
                 llmkit::http2 how = llmkit::http2(), std::uint32_t max_streams = 100)
        : time(std::make_shared<hand_clock>(context.get_executor())) {
        asio::make_service<llmkit::detail::clock_service>(context, time);
        server.emplace(context, std::move(answer), max_streams);
        client.emplace(http2_client(context.get_executor(), policy, how));
    }
    llmkit::url at(std::string_view path = "/") const {
        std::string why;
        return llmkit::url::parse(server->origin() + std::string(path), why).value();
    }
    /// Starts a call, which ends with the bed.
    std::shared_ptr<outcome> call(llmkit::http_request ask) {
        auto into = std::make_shared<outcome>();
        calls.emplace_back(client->clock(), fetch_into(*client, std::move(ask), into));
        return into;
    }
    std::shared_ptr<outcome> call() { return call(get(at())); }
    /// Runs until `met`; false when nothing happens for five seconds before.
    template <class Met>
    bool until(Met met) {
        context.restart();
        while (!met() && context.run_one_for(std::chrono::seconds(5)) > 0) {
        }
        return met();
    }
    /// Runs whatever can run by now, and what comes of it over the loopback.
    void settle() {
        context.restart();
        while (context.run_one_for(std::chrono::milliseconds(20)) > 0) {
        }
    }
    bool idle(std::size_t connections) {
        return until([&] {
            const auto now = client->connections();
            return now.open == connections && now.idle == connections && now.waiting == 0;
        });
    }
    bool done(const std::shared_ptr<outcome>& what) {
        return until([&] { return what->done; });
    }
    const peer_ptr& peer(std::size_t number = 0) const { return server->peers().at(number); }

    asio::io_context context;
    std::shared_ptr<hand_clock> time;
    std::optional<http2_server> server;
    std::optional<llmkit::http_transport> client;
    std::vector<llmkit::child<void>> calls;
};

/// Keeps what was asked, to be answered later.
class desk {
public:
    http2_server::handler handler() {
        return [this](const peer_ptr& peer, const http2_ask& ask) { asks.emplace_back(peer, ask); };
    }
    void answer(std::size_t which, std::string_view body = "pong") {
        asks[which].first->respond(asks[which].second.stream, 200, {}, body);
    }
    const peer_ptr& peer(std::size_t which) const { return asks.at(which).first; }
    std::int32_t stream(std::size_t which) const { return asks.at(which).second.stream; }
    std::size_t size() const { return asks.size(); }

    std::vector<std::pair<peer_ptr, http2_ask>> asks;
};

}  // namespace llmkit_test
