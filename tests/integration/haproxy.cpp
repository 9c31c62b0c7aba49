#include <functional>
#include <map>
#include <mutex>
#include <optional>

#include <llmkit/llmkit.hpp>
#include <llmkit/testing/http_server.hpp>
#include <llmkit/testing/openai_replies.hpp>

#include "integration/nginx.hpp"
#include "test.hpp"

namespace test_integration_haproxy {

using namespace llmkit;
using namespace llmkit_test;
using namespace std::chrono_literals;

namespace {

/// haproxy between a client and a server of ours, with rules of its own for requests.
class haproxy {
public:
    haproxy(const temporary_folder& in, unsigned short server, const std::string& rules) {
        // A request that has reached the server is never sent again by haproxy itself.
        in.write("haproxy.cfg",
                 "defaults\n mode http\n retries 0\n timeout connect 60s\n timeout client 60s\n"
                 " timeout server 60s\nfrontend door\n bind 127.0.0.1:" +
                     std::to_string(port) + "\n" + rules +
                     " default_backend ours\nbackend ours\n server one 127.0.0.1:" +
                     std::to_string(server) + "\n");
        running_.emplace("haproxy", "haproxy", port,
                         std::vector<std::string>{"-db", "-f", in.path() / "haproxy.cfg"}, in);
    }
    const unsigned short port = free_port();

private:
    std::optional<server_program> running_;
};

// Long enough for a busy machine: whoever gives up on an answer that only is late asks again.
constexpr duration patience = 5s;

/// The numbers that came to the server, and how often.
struct received {
    testing::server_reply operator()(const testing::server_request& ask) {
        const std::string number(ask.fields.get("X-Number").value_or("none"));
        std::lock_guard lock(mutex);
        ++times[number];
        return testing::openai_reply(number);
    }
    std::mutex mutex;
    std::map<std::string, int> times;
};

struct tally {
    int next = 0;
    int whole = 0;
    std::size_t attempts = 0;
    std::string wrong;
};

template <class Client>
task<void> calls(Client client, int count, std::shared_ptr<tally> sum) {
    while (sum->next < count) {
        const std::string number = std::to_string(sum->next++);
        auto ask = chat_request("m").user("Say " + number).header("X-Number", number);
        auto answer = co_await client.chat(std::move(ask));
        if (answer && answer->text() == number) {
            ++sum->whole;
            sum->attempts += answer->came_by().attempts.size();
        } else {
            sum->wrong = answer ? answer->text() : answer.error().to_string();
        }
    }
}

}  // namespace

TEST_CASE("10,000 calls through a haproxy that drops and refuses, none lost, none doubled",
          "[haproxy]") {
    constexpr int count = 10'000;
    received behind;
    testing::http_server server(std::ref(behind), {.logged = 0});
    const temporary_folder folder;
    // Dropped in silence: the connection ends there, and nobody tells the client.
    const haproxy between(folder, server.port(),
                          " http-request silent-drop if { rand(100) lt 1 }\n"
                          " http-request return status 503 if { rand(100) lt 5 }\n");
    asio::io_context context;
    one_thread(context);
    const auto by = http(context.get_executor(), {.first_event = patience});
    const auto sum = std::make_shared<tally>();
    {
        const auto client =
            pipeline(openai(by, openai_options().no_key().base_url(
                                    "http://127.0.0.1:" + std::to_string(between.port) + "/v1"))) |
            retry({.retries = 10, .first_wait = 10ms, .longest_wait = 100ms});
        for (int i = 0; i < 64; ++i)
            asio::co_spawn(context, calls(client, count, sum), [](std::exception_ptr escaped) {
                if (escaped) std::rethrow_exception(escaped);
            });
        context.run();
    }
    INFO(sum->wrong);
    CHECK(sum->whole == count);
    CHECK(server.requests() == static_cast<std::size_t>(count));
    CHECK(behind.times.size() == static_cast<std::size_t>(count));
    CHECK(sum->attempts > count + count / 50);  // of 5 in 100 that were refused
    CHECK(by.connections().opened > 64 + 20);   // of 100 that were dropped
    CHECK(by.connections().open == by.connections().idle);
}

}  // namespace test_integration_haproxy
