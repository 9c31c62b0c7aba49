#include <atomic>
#include <thread>

#include <llmkit/core/child.hpp>
#include <llmkit/transport/http.hpp>

#include "raw_server.hpp"
#include "test.hpp"

namespace test_transport_threads {

using namespace llmkit;
using namespace llmkit_test;

namespace {

task<void> mostly_well(std::shared_ptr<peer> client, std::size_t number) {
    std::string text;
    std::size_t count = 0;
    while (co_await client->request(text)) {
        if (++count % 7 == 0) co_return;  // closes without an answer
        if (number % 5 == 4) {
            co_await client->send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
            co_await client->gone();
        }
        co_await client->answer(std::string(20'000, 'x'));
    }
}

struct tally {
    std::atomic<int> whole{0}, failed{0}, ended{0};
};

task<void> many_calls(http_transport client, url where, int count, std::shared_ptr<tally> sum) {
    for (int i = 0; i < count; ++i) {
        http_request ask("POST", where, {}, bytes(std::string(i % 3 == 0 ? 500'000 : 50, 'y')));
        ask.idle = 5ms;
        auto answer = co_await client.send(std::move(ask));
        if (answer && i % 4 == 0) continue;  // let go of it in the middle
        bool well = false;
        if (answer) {
            auto text = co_await answer->read_all();
            well = text && text->size() == 20'000;
        }
        ++(well ? sum->whole : sum->failed);
    }
}

}  // namespace

TEST_CASE("calls on two threads share one transport", "[threads]") {
    asio::io_context servers;
    raw_server server(servers, mostly_well);
    std::thread serving([&] { servers.run(); });

    asio::io_context context(2);
    auto sum = std::make_shared<tally>();
    {
        auto client = http(context.get_executor(), {.max_connections = 8, .max_idle = 4});
        const url where = server.url();
        for (int i = 0; i < 32; ++i) {
            asio::co_spawn(asio::make_strand(context), many_calls(client, where, 20, sum),
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
    asio::post(servers, [&] { server.stop(); });
    serving.join();
}

TEST_CASE("calls are cancelled from another thread while limits expire", "[threads]") {
    asio::io_context servers;
    raw_server server(servers, mostly_well);
    std::thread serving([&] { servers.run(); });

    asio::io_context context(2);
    auto client = http(context.get_executor(), {.max_connections = 4, .total = 20ms});
    auto sum = std::make_shared<tally>();
    {
        asio::any_io_executor work =
            asio::require(context.get_executor(), asio::execution::outstanding_work.tracked);
        std::thread one([&] { context.run(); });
        std::thread two([&] { context.run(); });
        const clock_handle time = client.clock();
        for (int round = 0; round < 30; ++round) {
            std::vector<child<void>> calls;
            for (int i = 0; i < 16; ++i)
                calls.emplace_back(time, many_calls(client, server.url(), 3, sum));
            if (round % 2) std::this_thread::yield();
            // Letting go of the children cancels them.
        }
        work = asio::any_io_executor();
        one.join();
        two.join();
    }
    CHECK(client.connections().waiting == 0);
    CHECK(client.connections().open == client.connections().idle);
    asio::post(servers, [&] { server.stop(); });
    serving.join();
}

TEST_CASE("each thread has a context and a transport of its own", "[threads]") {
    asio::io_context servers;
    raw_server server(servers, mostly_well);
    std::thread serving([&] { servers.run(); });

    auto sum = std::make_shared<tally>();
    const url where = server.url();
    std::atomic<int> tidy{0};
    const auto work = [&] {
        asio::io_context context(1);
        auto client = http(context.get_executor(), {.max_connections = 8, .max_idle = 4});
        for (int i = 0; i < 16; ++i) {
            asio::co_spawn(context, many_calls(client, where, 20, sum),
                           [sum](std::exception_ptr) { ++sum->ended; });
        }
        context.run();
        const auto at_end = client.connections();
        tidy += at_end.waiting == 0 && at_end.open == at_end.idle;
    };
    std::thread other(work);
    work();
    other.join();
    CHECK(tidy == 2);
    CHECK(sum->ended == 32);
    CHECK(sum->whole > 100);
    asio::post(servers, [&] { server.stop(); });
    serving.join();
}

TEST_CASE("connections are warmed up, counted and used on two threads at once", "[threads]") {
    asio::io_context servers;
    raw_server server(servers, serve_well);
    std::thread serving([&] { servers.run(); });

    asio::io_context context(2);
    const url named = server.url("/", "localhost");
    auto client = http(context.get_executor(), {.max_connections = 8, .keep_names = 0s});
    auto sum = std::make_shared<tally>();
    const auto warm = [](http_transport by, std::string where,
                         std::shared_ptr<tally> into) -> task<void> {
        for (int i = 0; i < 10; ++i) {
            const auto ready = co_await by.warm_up(where, 4);
            if (!ready) ++into->failed;
        }
    };
    for (int i = 0; i < 8; ++i) {
        asio::co_spawn(asio::make_strand(context), warm(client, named.text(), sum),
                       [sum](std::exception_ptr) { ++sum->ended; });
        asio::co_spawn(asio::make_strand(context), many_calls(client, named, 20, sum),
                       [sum](std::exception_ptr) { ++sum->ended; });
    }
    std::thread counting([&] {
        while (sum->ended < 16) {
            (void)client.connections();
            std::this_thread::yield();
        }
    });
    std::thread other([&] { context.run(); });
    context.run();
    other.join();
    counting.join();
    CHECK(sum->ended == 16);
    CHECK(client.connections().open == client.connections().idle);
    asio::post(servers, [&] { server.stop(); });
    serving.join();
}

}  // namespace test_transport_threads
