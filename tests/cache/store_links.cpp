#include <llmkit/cache/store_links.hpp>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <llmkit/core/run.hpp>
#include <llmkit/detail/resp_parser.hpp>
#include <llmkit/detail/resp_write.hpp>
#include <llmkit/simulation/world.hpp>

#include "cache/scripted_store.hpp"
#include "test.hpp"

namespace test_cache_store_links {

using namespace llmkit;
using namespace llmkit_test;
using namespace std::chrono_literals;

namespace {

using detail::resp_command;
using detail::resp_value;
using links = detail::store_links<detail::resp_parser>;
using answer = result<resp_value>;

std::shared_ptr<links> links_to(unsigned short port, store_policy policy = {}) {
    detail::store_greeting<resp_value> first;
    first.text = resp_command("PING");
    first.replies = 1;
    first.judge = [](const resp_value& said) -> std::optional<error> {
        if (said.says("PONG")) return std::nullopt;
        return error(error_kind::authentication, said.text());
    };
    policy.connect = std::max<duration>(policy.connect, 20s);
    policy.silence = std::max<duration>(policy.silence, 20s);
    return std::make_shared<links>(
        std::make_shared<const detail::store_site<detail::resp_parser>>(
            detail::store_address("127.0.0.1", port), policy, first, detail::resp_parser()),
        encryption());
}
limit within(duration span) {
    limit until;
    until.until = std::chrono::steady_clock::now() + span;
    return until;
}
std::string text(const answer& got) {
    return got ? got->text() : std::string(to_string(got.error().kind()));
}
/// What a connection's peer does that answers each command with its second word.
void echo(store_peer& peer) {
    if (!peer.greet()) return;
    for (auto words = peer.command(); !words.empty(); words = peer.command())
        peer.say("+" + words.back() + "\r\n");
}

struct user {
    explicit user(std::shared_ptr<links> with) : store(std::move(with)) {}
    answer ask(const std::string& word, duration span = 30s) {
        return loop.wait(links::ask(store, resp_command("ECHO", word), within(span)));
    }
    /// Begins to ask; the future has the answer.
    std::future<answer> begin(const std::string& word, duration span = 30s) {
        return asio::co_spawn(loop.get_executor(),
                              links::ask(store, resp_command("ECHO", word), within(span)),
                              asio::use_future);
    }
    std::shared_ptr<links> store;
    background_loop loop;
};

template <class Condition>
bool eventually(const Condition& holds) {
    for (int i = 0; i < 30'000; ++i) {
        if (holds()) return true;
        std::this_thread::sleep_for(1ms);
    }
    return false;
}

}  // namespace

TEST_CASE("commands of many callers share one connection, and each gets its own reply",
          "[store_links]") {
    scripted_store server(echo);
    user one(links_to(server.port()));
    std::vector<std::future<answer>> all;
    for (int i = 0; i < 500; ++i) all.push_back(one.begin(std::to_string(i)));
    for (int i = 0; i < 500; ++i)
        CHECK(text(all[static_cast<std::size_t>(i)].get()) == std::to_string(i));
    CHECK(server.accepted() == 1);
    const store_figures now = one.store->figures();
    CHECK(now.connections == 1);
    CHECK(now.waiting == 0);
    CHECK(now.commands == 500);
    CHECK(now.replies == 500);
    CHECK(now.failures == 0);
    CHECK(now.bytes_sent > 500 * 20);
}

TEST_CASE("commands of many threads on one context share one connection", "[store_links]") {
    scripted_store server(echo);
    const auto store = links_to(server.port());
    asio::thread_pool pool(4);
    std::atomic<int> right{0};
    const auto work = [](std::shared_ptr<links> with, int from,
                         std::atomic<int>& good) -> task<void> {
        for (int i = 0; i < 50; ++i) {
            const std::string word = std::to_string(from * 1000 + i);
            std::string command = resp_command("ECHO", word);
            auto got = co_await links::ask(with, std::move(command), within(60s));
            if (got && got->text() == word) ++good;
        }
    };
    for (int i = 0; i < 16; ++i)
        asio::co_spawn(asio::make_strand(pool.get_executor()), work(store, i, right),
                       [](std::exception_ptr) {});
    pool.join();
    CHECK(right == 16 * 50);
    CHECK(server.accepted() == 1);
}

TEST_CASE("several connections share the commands when the policy allows it", "[store_links]") {
    go_ahead go;
    scripted_store server([&](store_peer& peer) {
        if (!peer.greet()) return;
        auto words = peer.command();
        go.wait();
        for (; !words.empty(); words = peer.command()) peer.say("+" + words.back() + "\r\n");
    });
    user one(links_to(server.port(), {.connections = 2}));
    auto a = one.begin("a");
    auto b = one.begin("b");
    CHECK(eventually([&] { return server.accepted() == 2; }));
    go.give();
    CHECK(text(a.get()) == "a");
    CHECK(text(b.get()) == "b");
}

TEST_CASE("who gives up leaves his place, and the others get their own replies", "[store_links]") {
    go_ahead both;
    go_ahead go;
    scripted_store server([&](store_peer& peer) {
        if (!peer.greet()) return;
        const auto first = peer.command();
        const auto second = peer.command();
        both.give();
        go.wait();
        peer.say("+" + first.back() + "\r\n+" + second.back() + "\r\n");
        for (auto words = peer.command(); !words.empty(); words = peer.command())
            peer.say("+" + words.back() + "\r\n");
    });
    user one(links_to(server.port()));
    asio::cancellation_signal stop;
    std::promise<bool> left;
    asio::co_spawn(
        one.loop.get_executor(), links::ask(one.store, resp_command("ECHO", "hasty"), limit()),
        asio::bind_cancellation_slot(
            stop.slot(), [&](std::exception_ptr why, answer) { left.set_value(why != nullptr); }));
    auto patient = one.begin("patient");
    both.wait();
    asio::post(one.loop.get_executor(), [&] { stop.emit(asio::cancellation_type::terminal); });
    CHECK(left.get_future().get());
    CHECK(text(one.ask("late", 20ms)) == "timeout");  // nothing is said yet
    go.give();
    CHECK(text(patient.get()) == "patient");
    CHECK(text(one.ask("later")) == "later");
    CHECK(one.store->figures().given_up == 2);
    CHECK(server.accepted() == 1);
}

TEST_CASE("a caller is cancelled at once wherever his command is", "[store_links]") {
    go_ahead silence;
    scripted_store server([&](store_peer& peer) {
        if (peer.number == 0) return silence.wait();  // not even a greeting
        echo(peer);
    });
    user one(links_to(server.port()));
    asio::cancellation_signal stop;
    std::promise<bool> cancelled;
    asio::co_spawn(one.loop.get_executor(),
                   links::ask(one.store, resp_command("ECHO", "x"), limit()),
                   asio::bind_cancellation_slot(stop.slot(), [&](std::exception_ptr why, answer) {
                       cancelled.set_value(why != nullptr);
                   }));
    CHECK(eventually([&] { return server.accepted() == 1; }));
    asio::post(one.loop.get_executor(), [&] { stop.emit(asio::cancellation_type::terminal); });
    CHECK(cancelled.get_future().get());
    CHECK(one.store->figures().waiting == 0);
    silence.give();
}

TEST_CASE("a connection that ends fails what was sent, and the next command finds a new one",
          "[store_links]") {
    scripted_store server([&](store_peer& peer) {
        if (peer.number > 0) return echo(peer);
        peer.greet();
        peer.say("+" + peer.command().back() + "\r\n");
        peer.command();
        peer.say("$100\r\nin the middle of a rep");
        peer.reset();
    });
    user one(links_to(server.port()));
    CHECK(text(one.ask("a")) == "a");
    CHECK(text(one.ask("b")) == "connection lost");
    CHECK(text(one.ask("c")) == "c");
    CHECK(server.accepted() == 2);
    CHECK(one.store->figures().lost == 1);
}

TEST_CASE("a connection that the server closed while it was idle fails nobody", "[store_links]") {
    go_ahead closed;
    scripted_store server([&](store_peer& peer) {
        if (peer.number > 0) return echo(peer);
        peer.greet();
        peer.say("+" + peer.command().back() + "\r\n");
        closed.give();
    });
    user one(links_to(server.port()));
    CHECK(text(one.ask("a")) == "a");
    closed.wait();
    // The end of the connection is on its way: it may come just after the command.
    CHECK(eventually([&] { return text(one.ask("b")) == "b"; }));
    CHECK(server.accepted() == 2);
}

TEST_CASE("where nobody listens commands fail at once until it is time to try again",
          "[store_links]") {
    const taken_port nobody;
    const unsigned short port = nobody.number();
    user one(links_to(port, {.retry_first = 1h, .retry_most = 1h}));
    auto first = one.ask("a");
    CHECK(text(first) == "connect");
    CHECK(first.error().message().find("127.0.0.1:" + std::to_string(port)) != std::string::npos);
    for (int i = 0; i < 100; ++i) CHECK(text(one.ask("b")) == "connect");
    CHECK(one.store->figures().unreached == 1);
}

TEST_CASE("a store that comes back is used again after the pause", "[store_links]") {
    std::atomic<bool> refusing{true};
    scripted_store server([&](store_peer& peer) {
        if (!refusing) return echo(peer);
        peer.command();
        peer.say("-WRONGPASS no\r\n");
    });
    user one(links_to(server.port(), {.retry_first = 1ms, .retry_most = 4ms}));
    CHECK(text(one.ask("a")) == "authentication");
    refusing = false;
    CHECK(eventually([&] { return text(one.ask("b")) == "b"; }));
    CHECK(text(one.ask("c")) == "c");
}

TEST_CASE("a store that falls silent is cut, and until it speaks again commands fail at once",
          "[store_links]") {
    go_ahead over;
    scripted_store server([&](store_peer& peer) {
        peer.greet();
        over.wait();  // takes everything and says nothing
    });
    auto store = links_to(server.port(), {.retry_first = 1h, .retry_most = 1h});
    // Not through `links_to`, which waits long on purpose.
    store_policy hasty{.silence = 50ms, .retry_first = 1h, .retry_most = 1h};
    hasty.connect = 20s;
    store = std::make_shared<links>(
        std::make_shared<const detail::store_site<detail::resp_parser>>(
            store->site().where, hasty, store->site().greeting, detail::resp_parser()),
        encryption());
    user one(store);
    auto b = one.ask("b");
    CHECK(text(b) == "timeout");
    CHECK(b.error().message().find("did not answer for 50 ms") != std::string::npos);
    CHECK(text(one.ask("c")) == "timeout");
    CHECK(one.store->figures().lost == 1);
    CHECK(server.accepted() == 1);
    over.give();
}

TEST_CASE("no more commands wait than the policy allows", "[store_links]") {
    go_ahead go;
    scripted_store server([&](store_peer& peer) {
        peer.greet();
        go.wait();
        for (auto words = peer.command(); !words.empty(); words = peer.command())
            peer.say("+" + words.back() + "\r\n");
    });
    user one(links_to(server.port(), {.max_commands = 3}));
    std::vector<std::future<answer>> all;
    for (int i = 0; i < 5; ++i) all.push_back(one.begin(std::to_string(i)));
    CHECK(text(all[3].get()) == "refused");
    CHECK(text(all[4].get()) == "refused");
    go.give();
    for (std::size_t i = 0; i < 3; ++i) CHECK(text(all[i].get()) == std::to_string(i));

    user small(links_to(server.port(), {.max_bytes = 1000}));
    CHECK(text(small.ask(std::string(2000, 'x'))) == "refused");
    CHECK(text(small.ask("y")) == "y");
}

TEST_CASE("large commands and replies pass whole, in order with small ones", "[store_links]") {
    scripted_store server(echo);
    detail::resp_limits roomy;
    roomy.line = std::size_t{8} << 20;
    auto store = links_to(server.port());
    store = std::make_shared<links>(std::make_shared<const detail::store_site<detail::resp_parser>>(
                                        store->site().where, store->site().policy,
                                        store->site().greeting, detail::resp_parser(roomy)),
                                    encryption());
    user one(store);
    std::vector<std::string> words;
    for (std::size_t i = 0; i < 40; ++i)
        words.push_back(
            std::string(i % 4 == 3 ? std::size_t{1} << 20 : i, static_cast<char>('a' + i % 26)));
    std::vector<std::future<answer>> all;
    for (const auto& word : words) all.push_back(one.begin(word));
    for (std::size_t i = 0; i < words.size(); ++i) CHECK((text(all[i].get()) == words[i]));
}

TEST_CASE("what is not the protocol, or comes unasked, ends the connection", "[store_links]") {
    scripted_store server([&](store_peer& peer) {
        peer.greet();
        peer.say("+" + peer.command().back() + "\r\n");
        peer.command();
        if (peer.number == 0)
            return peer.say("HTTP/1.1 400 Bad Request\r\n\r\n"), peer.wait_for_end();
        peer.say("+mine\r\n+nobody's\r\n");
        peer.wait_for_end();
    });
    user one(links_to(server.port()));
    CHECK(text(one.ask("a")) == "a");
    CHECK(text(one.ask("b")) == "protocol");
    CHECK(text(one.ask("c")) == "c");
    CHECK(text(one.ask("d")) == "mine");
    CHECK(text(one.ask("e")) == "e");
    CHECK(server.accepted() == 3);
}

TEST_CASE("closing frees everybody at once", "[store_links]") {
    go_ahead go;
    scripted_store server([&](store_peer& peer) {
        if (peer.number == 0) peer.greet();
        go.wait();
    });
    user one(links_to(server.port()));
    auto sent = one.begin("a");
    CHECK(eventually([&] { return one.store->figures().connections == 1; }));
    one.store->close();
    CHECK(text(sent.get()) == "closed");
    CHECK(text(one.ask("b")) == "closed");
    CHECK(one.store->figures().connections == 0);

    user other(links_to(server.port()));  // never greeted
    auto waiting = other.begin("a");
    CHECK(eventually([&] { return server.accepted() == 2; }));
    other.store->close();
    CHECK(text(waiting.get()) == "closed");
    go.give();
}

TEST_CASE("a store outlives the io_contexts that used it, whatever was going on there",
          "[store_links]") {
    go_ahead go;
    scripted_store server([&](store_peer& peer) {
        if (peer.number == 1) return go.wait();
        if (!peer.greet()) return;
        for (auto words = peer.command(); !words.empty(); words = peer.command()) {
            if (words.back() == "hang") return peer.wait_for_end();
            peer.say("+" + words.back() + "\r\n");
        }
    });
    const auto store = links_to(server.port());
    {
        user one(store);
        auto hanging = one.begin("hang");
        CHECK(eventually([&] { return store->figures().connections == 1; }));
    }
    {
        user two(store);
        auto connecting = two.begin("a");
        CHECK(eventually([&] { return server.accepted() == 2; }));
    }
    go.give();
    user three(store);
    CHECK(text(three.ask("b")) == "b");
    asio::io_context other;
    auto got = asio::co_spawn(other, links::ask(store, resp_command("ECHO", "c"), within(30s)),
                              asio::use_future);
    other.run();  // ends by itself: nothing is pending on an idle connection
    CHECK(text(got.get()) == "c");
}

TEST_CASE("a store on another machine is not asked in virtual time", "[store_links]") {
    simulation::world world;
    const auto store = links_to(1);
    std::optional<answer> got;
    asio::co_spawn(world.get_executor(), links::ask(store, resp_command("PING"), limit()),
                   [&](std::exception_ptr, answer reply) { got = std::move(reply); });
    world.run_for(1s);
    REQUIRE(got);
    CHECK(text(*got) == "configuration");
}

}  // namespace test_cache_store_links
