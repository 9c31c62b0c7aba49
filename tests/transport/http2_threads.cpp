#include <atomic>
#include <thread>

#include "http2_bed.hpp"
#include "test.hpp"

namespace test_transport_http2_threads {

using namespace llmkit;
using namespace llmkit_test;

namespace {

/// Mostly answers; resets, refuses, goes away and closes now and then.
void mostly_well(const peer_ptr& peer, const http2_ask& ask) {
    const auto nth = static_cast<unsigned>(ask.stream) / 2;
    if (nth % 97 == 96) return peer->close();
    if (nth % 61 == 60) return peer->go_away(ask.stream - 2);
    if (nth % 17 == 16) return peer->reset(ask.stream, NGHTTP2_REFUSED_STREAM);
    if (nth % 23 == 22) return;  // never answers
    peer->respond(ask.stream, 200, {}, std::string(20'000, 'x'));
}

struct tally {
    std::atomic<int> whole{0}, failed{0}, ended{0};
};

task<void> many_calls(http_transport client, url where, int count, std::shared_ptr<tally> sum) {
    for (int i = 0; i < count; ++i) {
        http_request ask("POST", where, {}, bytes(std::string(i % 5 == 0 ? 200'000 : 50, 'y')));
        ask.first_event = 300ms;
        auto answer = co_await client.send(std::move(ask));
        if (answer && i % 4 == 0) continue;  // let go of it in the middle
        if (answer && i % 4 == 1) {
            answer->finish();
            continue;
        }
        bool well = false;
        if (answer) {
            auto text = co_await answer->read_all();
            well = text && text->size() == 20'000;
        }
        ++(well ? sum->whole : sum->failed);
    }
}

/// A server on a thread of its own.
class server_thread {
public:
    server_thread() : server_(context_, mostly_well, 10), thread_([this] { context_.run(); }) {}
    ~server_thread() {
        asio::post(context_, [this] { server_.stop(); });
        thread_.join();
    }
    url where() const {
        std::string why;
        return url::parse(server_.origin() + "/", why).value();
    }

private:
    asio::io_context context_;
    http2_server server_;
    std::thread thread_;
};

}  // namespace

TEST_CASE("HTTP/2 calls on two threads share connections", "[http2]") {
    server_thread server;
    asio::io_context context(2);
    auto sum = std::make_shared<tally>();
    {
        auto client = http2_client(context.get_executor(), {.max_connections = 4},
                                   http2().stream_window(8192));
        for (int i = 0; i < 32; ++i) {
            asio::co_spawn(asio::make_strand(context), many_calls(client, server.where(), 20, sum),
                           [sum](std::exception_ptr) { ++sum->ended; });
        }
        std::thread other([&] { context.run(); });
        context.run();
        other.join();
        CHECK(client.connections().waiting == 0);
        CHECK(client.connections().open == client.connections().idle);
    }
    CHECK(sum->ended == 32);
    CHECK(sum->whole > 100);
}

TEST_CASE("HTTP/2 calls are cancelled from another thread while limits expire", "[http2]") {
    server_thread server;
    asio::io_context context(2);
    auto client = http2_client(context.get_executor(), {.max_connections = 4, .total = 20ms});
    auto sum = std::make_shared<tally>();
    {
        asio::any_io_executor work =
            asio::require(context.get_executor(), asio::execution::outstanding_work.tracked);
        std::thread one([&] { context.run(); });
        std::thread two([&] { context.run(); });
        for (int round = 0; round < 30; ++round) {
            std::vector<child<void>> calls;
            for (int i = 0; i < 16; ++i)
                calls.emplace_back(client.clock(), many_calls(client, server.where(), 3, sum));
            if (round % 2) std::this_thread::yield();
            // Letting go of the children cancels them.
        }
        work = asio::any_io_executor();
        one.join();
        two.join();
    }
    CHECK(client.connections().waiting == 0);
    CHECK(client.connections().open == client.connections().idle);
}

TEST_CASE("a context is dropped with HTTP/2 calls of two threads in flight", "[http2]") {
    server_thread server;
    for (int round = 0; round < 10; ++round) {
        auto sum = std::make_shared<tally>();
        asio::io_context context(2);
        auto client = http2_client(context.get_executor(), {.max_connections = 2});
        for (int i = 0; i < 16; ++i) {
            asio::co_spawn(asio::make_strand(context), many_calls(client, server.where(), 20, sum),
                           [](std::exception_ptr) {});
        }
        std::thread other([&] { context.run(); });
        while (sum->whole < round && !context.stopped()) context.run_one();
        context.stop();
        other.join();
    }
}

}  // namespace test_transport_http2_threads
