// What the pages in docs/ quote: compiled and run, so that they stay true.
#include <llmkit/core/any_service.hpp>
#include <llmkit/core/child.hpp>
#include <llmkit/core/pipeline.hpp>
#include <llmkit/core/run.hpp>
#include <llmkit/layer/dedup.hpp>
#include <llmkit/layer/monitor.hpp>
#include <llmkit/layer/retry.hpp>
#include <llmkit/layer/timeout.hpp>
#include <llmkit/metrics/report.hpp>
#include <llmkit/provider/openai.hpp>
#include <llmkit/simulation/world.hpp>
#include <llmkit/testing/http_server.hpp>
#include <llmkit/testing/openai_replies.hpp>
#include <llmkit/testing/scripted.hpp>
#include <llmkit/testing/scripted_transport.hpp>
#include <llmkit/transport/http.hpp>

#include "test.hpp"

namespace test_docs_pages {

using namespace std::chrono_literals;

namespace {

using shared_client = llmkit::pipeline<llmkit::deduplicating<llmkit::testing::scripted>>;

llmkit::task<std::string> words_of(shared_client client) {
    llmkit::request ask("chat/completions", R"({"model":"m","messages":"Hi"})");
    ask.options().streamed = true;
    auto answer = co_await client(std::move(ask));
    std::string words;
    if (!answer) co_return words;
    while (auto item = co_await answer->events().next()) words += item->data();
    co_return words;
}

}  // namespace

// docs/testing.md

// [quote:scripted]
TEST_CASE("my client asks again when the provider is overloaded", "[docs]") {
    llmkit::simulation::world world;
    llmkit::testing::scripted provider(world.get_executor());
    provider.then(llmkit::testing::fails(llmkit::error_kind::overloaded))
        .then(llmkit::testing::says("Hello there").after(300ms));
    auto client = llmkit::pipeline(provider) | llmkit::retry();

    auto answer = world.wait(client.chat(llmkit::chat_request("m").user("Hi")));

    REQUIRE(answer);
    CHECK(answer->text() == "Hello there");
    CHECK(provider.counts().begun == 2);
    CHECK(world.elapsed() > 600ms);  // of virtual time: a pause, then 300 ms
}
// [quote:scripted]

// [quote:together]
TEST_CASE("two callers with one question cost one call", "[docs]") {
    llmkit::simulation::world world;
    llmkit::testing::scripted provider(world.get_executor());
    provider.then(llmkit::testing::says("Hello there").every(20ms));
    auto client = llmkit::pipeline(provider) | llmkit::dedup();

    // A child begins at once; both are under way before either is waited for.
    llmkit::child first(world.clock(), client.chat(llmkit::chat_request("m").user("Hi")));
    llmkit::child second(world.clock(), client.chat(llmkit::chat_request("m").user("Hi")));

    CHECK(world.wait(first.join()).value().text() == "Hello there");
    CHECK(world.wait(second.join()).value().text() == "Hello there");
    CHECK(provider.counts().begun == 1);
}
// [quote:together]

// docs/layers/dedup.md

// [quote:late]
TEST_CASE("who comes late to a stream misses nothing of it", "[docs]") {
    llmkit::simulation::world world;
    llmkit::testing::scripted provider(world.get_executor());
    provider.then(llmkit::testing::says("one two three four").every(1s));
    auto client = llmkit::pipeline(provider) | llmkit::dedup();

    llmkit::child first(world.clock(), words_of(client));
    world.run_for(2500ms);  // of virtual time: the answer is half told
    llmkit::child late(world.clock(), words_of(client));

    CHECK(world.wait(first.join()) == "one two three four");
    CHECK(world.wait(late.join()) == "one two three four");
    CHECK(provider.counts().begun == 1);
}
// [quote:late]

// [quote:scripted_transport]
TEST_CASE("a provider's refusal becomes an error of the right kind", "[docs]") {
    llmkit::simulation::world world;
    llmkit::testing::scripted_transport http(world.get_executor());
    http.then(llmkit::testing::http_answer(
        401, R"({"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}})"));
    auto client = llmkit::pipeline(llmkit::openai(http, "sk-wrong"));

    auto answer = world.wait(client.chat(llmkit::chat_request("m").user("Hi")));

    REQUIRE_FALSE(answer);
    CHECK(answer.error().kind() == llmkit::error_kind::authentication);
    CHECK(http.sent(0).target().path() == "/v1/chat/completions");
}
// [quote:scripted_transport]

// [quote:server]
TEST_CASE("my client survives a server that resets the connection", "[docs]") {
    using namespace llmkit::testing;
    http_server server([calls = 0](const server_request&) mutable {
        return calls++ == 0 ? server_reply().reset() : openai_reply("Hello");
    });
    llmkit::background_loop loop;
    auto http = llmkit::http(loop.get_executor());
    auto provider =
        llmkit::openai(http, llmkit::openai_options().base_url(server.base_url()).no_key());
    auto client = llmkit::pipeline(provider) | llmkit::retry({.first_wait = 1ms});

    auto answer = loop.wait(client.chat(llmkit::chat_request("m").user("Hi")));

    REQUIRE(answer);
    CHECK(answer->text() == "Hello");
    CHECK(server.requests() == 2);
}
// [quote:server]

// docs/errors.md

namespace {

// [quote:decide]
enum class next_step { show, ask_shorter, sign_in_again, tell_operator };

next_step after_failure(const llmkit::error& why) {
    switch (why.kind()) {
        case llmkit::error_kind::context_length:
            return next_step::ask_shorter;
        case llmkit::error_kind::authentication:
        case llmkit::error_kind::permission:
            return next_step::sign_in_again;
        case llmkit::error_kind::configuration:
        case llmkit::error_kind::tls:
            return next_step::tell_operator;
        default:
            return next_step::show;  // why.message(), why.advice()
    }
}
// [quote:decide]

// [quote:attempts]
std::string history(const llmkit::error& why) {
    std::string text = why.to_string();
    for (auto tries = why.came_by().attempts; !tries.empty(); tries = tries.older()) {
        const llmkit::attempt& one = tries.newest();
        text += fmt::format("\n  {} after {} ms: {}", one.upstream(), one.took() / 1ms,
                            to_string(one.failure()));
    }
    return text;
}
// [quote:attempts]
}  // namespace

TEST_CASE("errors say what to do next", "[docs]") {
    CHECK(after_failure(llmkit::error(llmkit::error_kind::context_length, "too long")) ==
          next_step::ask_shorter);
    CHECK(after_failure(llmkit::error(llmkit::error_kind::tls, "expired")) ==
          next_step::tell_operator);
    CHECK(after_failure(llmkit::error(llmkit::error_kind::permission, "no")) ==
          next_step::sign_in_again);
    CHECK(after_failure(llmkit::error(llmkit::error_kind::server, "oh")) == next_step::show);
}

TEST_CASE("an error brings the record of its attempts", "[docs]") {
    llmkit::simulation::world world;
    llmkit::testing::scripted provider(world.get_executor());
    provider.always(llmkit::testing::fails(llmkit::error_kind::server).after(40ms));
    auto client = llmkit::pipeline(provider) | llmkit::retry();
    auto answer = world.wait(client.chat(llmkit::chat_request("m").user("Hi")));
    REQUIRE_FALSE(answer);
    const std::string text = history(answer.error());
    CHECK(text.starts_with("server error: scripted to fail, after 3 attempts. Try again"));
    CHECK(text.ends_with("\n  scripted after 40 ms: server error"));
}

// docs/providers.md

namespace {

template <class Transport>
auto providers(Transport http) {
    // [quote:providers]
    auto usual = llmkit::openai(http);  // OPENAI_API_KEY, and OPENAI_BASE_URL if it is set

    auto local = llmkit::openai(
        http, llmkit::openai_options().base_url("http://127.0.0.1:8080/v1").no_key());

    auto azure = llmkit::openai(
        http, llmkit::openai_options()
                  .base_url("https://acme.openai.azure.com/openai/deployments/gpt-4o")
                  .key_from("AZURE_OPENAI_API_KEY")
                  .azure("2024-10-21"));
    // [quote:providers]
    return std::vector<std::string>{usual.origin(), local.origin(), azure.origin()};
}

std::string fresh_key() { return "key"; }

template <class Transport>
auto keyed(Transport http) {
    // [quote:keys]
    auto fixed = llmkit::openai(http, llmkit::openai_options().key("sk-…"));
    auto named = llmkit::openai(http, llmkit::openai_options().key_from("MY_PROVIDERS_KEY"));
    auto asked = llmkit::openai(http, llmkit::openai_options().key_from(fresh_key));
    // [quote:keys]
    return asked;
}

// [quote:operations]
template <class Client>
llmkit::task<std::string> first_model(Client client) {
    llmkit::request list("models", "");  // without a body it is a GET
    auto answer = co_await client(list);
    if (!answer) co_return answer.error().to_string();
    auto body = co_await answer->events().next();
    if (!body) co_return "no answer";
    const auto json = nlohmann::json::parse(body->data());
    co_return json.at("data").at(0).at("id").template get<std::string>();
}
// [quote:operations]

// [quote:embed]
template <class Client>
llmkit::task<std::size_t> dimensions(Client client) {
    auto found = co_await client.embed("text-embedding-3-small", "a cat", "a dog");
    co_return found.value().vectors.at(0).size();
}
// [quote:embed]

// [quote:tools]
llmkit::chat_request weather_question() {
    return llmkit::chat_request("gpt-4o-mini")
        .system("Answer in one sentence.")
        .user("What is the weather in Paris?")
        .tool("weather", "The weather in a city",
              R"({"type":"object","properties":{"city":{"type":"string"}}})")
        .temperature(0)
        .set("parallel_tool_calls", false)  // any field that has no function of its own
        .timeout(20s);
}
// [quote:tools]
}  // namespace

TEST_CASE("providers are told where they are and what opens them", "[docs]") {
    llmkit::simulation::world world;
    llmkit::testing::scripted_transport http(world.get_executor());
    const auto origins = providers(http);
    CHECK(origins.at(1) == "openai http://127.0.0.1:8080/v1");
    CHECK(origins.at(2) == "openai https://acme.openai.azure.com/openai/deployments/gpt-4o");

    using llmkit::testing::http_answer;
    http.then(http_answer(200, R"({"data":[{"id":"tiny"}]})"))
        .then(http_answer(200, R"({"data":[{"index":0,"embedding":[1,2,3]},
                                           {"index":1,"embedding":[4,5,6]}]})"));
    auto client = llmkit::pipeline(keyed(http));
    CHECK(world.wait(first_model(client)) == "tiny");
    CHECK(http.sent(0).method() == "GET");
    CHECK(http.sent(0).fields().get("Authorization") == "Bearer key");
    CHECK(world.wait(dimensions(client)) == 3);
    CHECK(weather_question().body().find(R"("parallel_tool_calls":false)") != std::string::npos);
}

// docs/coroutines.md

namespace {

// [quote:session]
class session {
public:
    explicit session(llmkit::any_service with)
        : core_(std::make_shared<core>(llmkit::pipeline(std::move(with)))) {}

    llmkit::task<std::string> ask(std::string question) { return ask(core_, std::move(question)); }

private:
    struct core {
        explicit core(llmkit::pipeline<llmkit::any_service> with) : client(std::move(with)) {}
        llmkit::pipeline<llmkit::any_service> client;
        std::string last;
    };
    // Static, with what it touches as parameters: the session may be gone before this has ended.
    static llmkit::task<std::string> ask(std::shared_ptr<core> self, std::string question) {
        auto request = llmkit::chat_request("m").user(question);
        auto answer = co_await self->client.chat(std::move(request));
        self->last = answer ? answer->text() : answer.error().to_string();
        co_return self->last;
    }
    std::shared_ptr<core> core_;
};
// [quote:session]

// [quote:lambda]
template <class Client>
llmkit::task<std::string> shout(Client client) {
    const auto louder = [suffix = std::string("!")](const std::string& text) {
        return text + suffix;
    };
    auto answer = co_await client.chat(llmkit::chat_request("m").user("Hi"));
    co_return louder(answer.value().text());
}
// [quote:lambda]
}  // namespace

TEST_CASE("a task may outlive the object that made it", "[docs]") {
    llmkit::simulation::world world;
    llmkit::testing::scripted provider(world.get_executor());
    provider.always(llmkit::testing::says("Hello").after(1s));
    llmkit::task<std::string> later = session(llmkit::any_service(provider)).ask("Hi");
    CHECK(world.wait(std::move(later)) == "Hello");
    CHECK(world.wait(shout(llmkit::pipeline(provider))) == "Hello!");
}

// [quote:cancel]
TEST_CASE("cancelling a call frees what it held, at once", "[docs]") {
    llmkit::simulation::world world;
    llmkit::testing::scripted provider(world.get_executor());
    provider.always(llmkit::testing::never_answers());
    auto client = llmkit::pipeline(provider) | llmkit::retry();

    asio::cancellation_signal stop;
    bool cancelled = false;
    client.chat(llmkit::chat_request("m").user("Hi"),
                asio::bind_cancellation_slot(
                    stop.slot(), [&](std::exception_ptr why, llmkit::result<llmkit::completion>) {
                        cancelled = why != nullptr;
                    }));
    world.run_for(1s);
    CHECK(provider.counts().in_flight == 1);

    stop.emit(asio::cancellation_type::terminal);
    world.poll();
    CHECK(cancelled);
    CHECK(provider.counts().in_flight == 0);
}
// [quote:cancel]

// docs/building.md

namespace {

// [quote:one_file]
// model.hpp, with llmkit/core/any_service.hpp:
llmkit::any_service make_model(const llmkit::executor& where);

// model.cpp, with the provider, the transport and the layers:
llmkit::any_service make_model(const llmkit::executor& where) {
    auto provider =
        llmkit::openai(llmkit::http(where),
                       llmkit::openai_options().base_url("http://127.0.0.1:8080/v1").no_key());
    return llmkit::any_service(llmkit::pipeline(provider) | llmkit::retry());
}
// [quote:one_file]
}  // namespace

TEST_CASE("a pipeline may be made in one file and called in others", "[docs]") {
    llmkit::background_loop loop;
    const auto client = llmkit::pipeline(make_model(loop.get_executor()));
    CHECK(client.origin() == "openai http://127.0.0.1:8080/v1");
}

// docs/transports.md

TEST_CASE("a transport says how many connections it has", "[docs]") {
    llmkit::testing::http_server server(
        [](const auto&) { return llmkit::testing::openai_reply("Hello"); });
    llmkit::background_loop loop;
    // [quote:policy]
    auto http = llmkit::http(loop.get_executor(), {.max_connections = 400,
                                                   .max_per_host = 400,
                                                   .max_idle = 100,
                                                   .connect = 2s,
                                                   .max_body = 16 * 1024 * 1024});
    // [quote:policy]
    auto client = llmkit::pipeline(
        llmkit::openai(http, llmkit::openai_options().base_url(server.base_url()).no_key()));
    REQUIRE(loop.wait(client.chat(llmkit::chat_request("m").user("Hi"))));
    CHECK(http.connections().open == 1);
    CHECK(http.connections().idle == 1);
}

TEST_CASE("a transport is watched and warmed up", "[docs]") {
    llmkit::testing::http_server server(
        [](const auto&) { return llmkit::testing::openai_reply("Hello"); });
    llmkit::background_loop loop;
    const std::string base_url = server.base_url();
    // [quote:watch]
    auto http = llmkit::http(loop.get_executor());
    llmkit::metrics figures;
    figures.watch("transport", http);
    auto client = llmkit::pipeline(llmkit::openai(http)) | llmkit::monitor(figures);
    // fmt::print("{}", llmkit::to_table(figures.snapshot()));
    // transport       open 8, idle 8, waiting 0, opened 8, failed 0, reused 0, …
    // [quote:watch]
    const auto warm = [](llmkit::http_transport by, std::string url) -> llmkit::task<std::size_t> {
        // [quote:warm_up]
        auto ready = co_await by.warm_up(url, 8);  // 8, or fewer if the policy allows no more
        // [quote:warm_up]
        co_return ready.value();
    };
    const auto ready = loop.wait(warm(http, base_url));
    CHECK(ready == 8);
    CHECK(llmkit::to_table(figures.snapshot()).find("transport       open 8, idle 8") !=
          std::string::npos);
}

TEST_CASE("a transport is told which way to go", "[docs]") {
    llmkit::background_loop loop;
    // [quote:route]
    using llmkit::http_options;
    const auto on = loop.get_executor();
    auto proxied = llmkit::http(on, http_options().route(llmkit::proxy("http://proxy.example:3128",
                                                                       "localhost,.internal")));
    auto straight = llmkit::http(on, http_options().route(llmkit::direct()));
    auto beside = llmkit::http(on, http_options().route(llmkit::unix_socket("/run/llm.sock")));
    // for the last one a base URL such as http://localhost/v1
    // [quote:route]
    CHECK(proxied.connections().open + straight.connections().open == 0);
    CHECK(beside.connections().open == 0);
}

}  // namespace test_docs_pages
