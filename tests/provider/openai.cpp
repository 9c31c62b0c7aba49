#include <llmkit/provider/openai.hpp>

#include <string>

#include <llmkit/core/pipeline.hpp>
#include <llmkit/simulation/world.hpp>
#include <llmkit/testing/scripted_transport.hpp>

#include "recording.hpp"
#include "test.hpp"

namespace test_provider_openai {

using namespace llmkit;
using namespace std::chrono_literals;
using testing::http_answer;
using testing::scripted_transport;

namespace {
static_assert(transport<scripted_transport>);
static_assert(service<openai_service<scripted_transport>>);

auto provider(const scripted_transport& http) {
    return openai(http, openai_options().base_url("http://h/v1").key("sk-secret"));
}
result<response> call(simulation::world& world, http_answer script,
                      request ask = request("chat/completions", R"({"model":"asked"})")) {
    scripted_transport http(world.get_executor());
    http.then(std::move(script));
    return world.wait(provider(http)(std::move(ask)));
}
}  // namespace

TEST_CASE("a unary answer is one event with its facts", "[openai]") {
    simulation::world world;
    auto answer = call(world, recorded("aimock.unary"));
    REQUIRE(answer);
    CHECK(answer->head().status == 200);
    CHECK(answer->head().model == "gpt-4o");
    CHECK(answer->head().request_id == "req-kjy2c8Gpq2grHutk");
    CHECK_FALSE(answer->head().streamed);
    CHECK(answer->head().speaks == &openai_dialect());
    CHECK(answer->head().fields->get("content-type") == "application/json");
    REQUIRE(answer->head().came_by.attempts.size() == 1);
    const attempt& made = answer->head().came_by.attempts.newest();
    CHECK(made.upstream() == "openai http://h/v1");
    CHECK(made.status() == 200);
    CHECK(made.failure() == error_kind::unset);
    CHECK(answer->events().single());
    auto item = world.wait(answer->events().next());
    REQUIRE(item);
    CHECK(item->facts().last);
    CHECK(item->facts().finish == finish_reason::stop);
    CHECK(item->facts().usage.output == 13);
    CHECK_FALSE(world.wait(answer->events().next()));
    CHECK_FALSE(answer->events().failed());
}

TEST_CASE("typed calls read what real servers sent", "[openai]") {
    simulation::world world;
    scripted_transport http(world.get_executor());
    auto client = pipeline(provider(http));
    for (const char* name : {"aimock.unary", "llama.unary", "llama26.unary", "mockllm.unary"}) {
        INFO(name);
        http.then(http_answer(recorded(name)).in_pieces(7));
        auto answer = world.wait(client.chat(chat_request("m").user("Hi")));
        REQUIRE(answer);
        CHECK_FALSE(answer->text().empty());
        CHECK(answer->finish() != finish_reason::none);
    }
    http.then(recorded("aimock.embed"));
    auto vectors = world.wait(client.embed("e", "text"));
    REQUIRE(vectors);
    CHECK(vectors->vectors[0] == std::vector<float>{0.1F, 0.2F, 0.3F});
    CHECK(http.sent(4).target().path() == "/v1/embeddings");

    http.then(recorded("aimock.toolstream"));
    auto stream = world.wait(client.stream(chat_request("m").user("Weather?")));
    std::string arguments;
    while (auto delta = world.wait(stream.next())) {
        for (const auto& piece : delta.tool_calls()) arguments += piece.arguments;
    }
    CHECK_FALSE(stream.failed());
    CHECK(arguments == R"({"city":"Zürich"})");
    CHECK(stream.finish() == finish_reason::tool_calls);
    CHECK(http.sent(5).body().view().find(R"("stream":true)") != std::string_view::npos);
}

TEST_CASE("recorded refusals are errors of the right kind", "[openai]") {
    const std::pair<const char*, error_kind> expected[] = {
        {"aimock.429", error_kind::rate_limited},    {"aimock.nomatch", error_kind::not_found},
        {"llama.err400", error_kind::server},        {"llama26.err", error_kind::invalid_request},
        {"llama503loading", error_kind::overloaded}, {"llamaemb.501", error_kind::server},
        {"mockllm.401", error_kind::authentication},
    };
    for (const auto& [name, kind] : expected) {
        INFO(name);
        simulation::world world;
        auto answer = call(world, recorded(name));
        REQUIRE_FALSE(answer);
        CHECK(answer.error().kind() == kind);
        CHECK(answer.error().attempts() == 1);
        CHECK(answer.error().came_by().attempts.newest().failure() == kind);
        CHECK(answer.error().status() == answer.error().came_by().attempts.newest().status());
        CHECK(answer.error().where() == "POST http://h/v1/chat/completions");
    }
    simulation::world world;
    auto limited = call(world, recorded("aimock.429"));
    CHECK(limited.error().retry_after() == duration(1s));
    CHECK(limited.error().request_id() == "req-cc3S25eERK0dfAEe");
    CHECK(limited.error().code() == "rate_limit_exceeded");
    CHECK(limited.error().message() == "Rate limited");
    auto dropped = call(world, http_answer(500, recorded_body("aimock.chaos_500")));
    CHECK(dropped.error().kind() == error_kind::server);
    CHECK(dropped.error().code() == "chaos_drop");
}

TEST_CASE("an error inside a good answer is an error", "[openai]") {
    simulation::world world;
    auto answer =
        call(world, http_answer(200, R"({"error":{"message":"busy","type":"overloaded_error"}})"));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().kind() == error_kind::overloaded);
    CHECK(answer.error().attempts() == 1);
}

TEST_CASE("a good answer that is no JSON shows how it begins", "[openai]") {
    simulation::world world;
    auto answer = call(world, http_answer(200, recorded_body("aimock.chaos_malformed")));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().kind() == error_kind::protocol);
    CHECK(answer.error().message().find("{malformed json") != std::string_view::npos);
    answer = call(world, http_answer(200, "<html>" + std::string(5000, 'x')));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().message().size() < 260);
    answer = call(world, http_answer(200, ""));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().kind() == error_kind::protocol);
}

TEST_CASE("keys never appear in errors, though servers quote them", "[openai]") {
    simulation::world world;
    for (auto script :
         {http_answer(401, R"({"error":{"message":"Incorrect key sk-secret","code":"sk-secret"}})"),
          http_answer(200, "not json: Bearer sk-secret"),
          http_answer(401, R"({"error":{"message":"no sk\u002dsecret","code":"sk\u002dsecret"}})"),
          http_answer(500, "trace: Authorization: Bearer sk-secret, tok-12345")}) {
        request ask("chat/completions", "{}");
        ask.options().add_header("X-Auth-Token", "Token tok-12345");
        auto answer = call(world, std::move(script), ask);
        REQUIRE_FALSE(answer);
        INFO(answer.error().to_string());
        CHECK(answer.error().to_string().find("sk-secret") == std::string::npos);
        CHECK(answer.error().to_string().find("tok-12345") == std::string::npos);
    }
}

TEST_CASE("a stream is folded when one piece was asked for", "[openai]") {
    simulation::world world;
    scripted_transport http(world.get_executor());
    http.then(recorded("aimock.stream"));
    auto client = pipeline(provider(http));
    auto answer = world.wait(client.chat(chat_request("m").user("Hi")));
    REQUIRE(answer);
    CHECK(answer->text() == "Hi there — naïve 🙂 text, streamed in small pieces.");
    CHECK(answer->usage().output == 13);
    http.then(recorded("aimock.truncated"));
    CHECK_FALSE(world.wait(client.chat(chat_request("m").user("Hi"))));
}

TEST_CASE("any operation is passed through", "[openai]") {
    simulation::world world;
    auto answer =
        call(world, http_answer(200, recorded_body("aimock.models")), request("models", ""));
    REQUIRE(answer);
    CHECK(answer->head().speaks == nullptr);
    auto item = world.wait(answer->events().next());
    REQUIRE(item);
    CHECK(item->data() == recorded_body("aimock.models"));
    // There `error` may be an honest field, and an answer need not be JSON.
    answer = call(world, http_answer(200, R"({"id":"ft","error":{"message":"job failed"}})"),
                  request("fine_tuning/jobs/ft", ""));
    CHECK(answer);
    answer =
        call(world, http_answer(200, "\x01\x02").type("audio/mpeg"), request("audio/speech", "{}"));
    REQUIRE(answer);
    item = world.wait(answer->events().next());
    CHECK(item->data() == "\x01\x02");
    // Its stream ends when the input does.
    request ask("responses", "{}");
    ask.options().streamed = true;
    http_answer events(200, "event: response.created\ndata: {\"type\":\"response.created\"}\n\n");
    answer = call(world, events.type("text/event-stream"), ask);
    REQUIRE(answer);
    item = world.wait(answer->events().next());
    REQUIRE(item);
    CHECK(item->name() == "response.created");
    CHECK_FALSE(world.wait(answer->events().next()));
    CHECK_FALSE(answer->events().failed());
}

TEST_CASE("what never left is no attempt, what failed on the way is one", "[openai]") {
    simulation::world world;
    auto answer = call(world, http_answer(200, "{}"), request("chat/completions", "no json"));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().attempts() == 0);
    answer = call(world, error(error_kind::refused, "no connection is free"));
    CHECK(answer.error().attempts() == 0);
    answer = call(world, error(error_kind::connect, "nobody there"));
    REQUIRE(answer.error().attempts() == 1);
    CHECK(answer.error().came_by().attempts.newest().failure() == error_kind::connect);
    CHECK(answer.error().came_by().attempts.newest().status() == 0);
    // Attempts made before are kept.
    request again("chat/completions", "{}");
    again.options().attempts = answer.error().came_by().attempts;
    answer = call(world, http_answer(500, "{}").after(2s), again);
    CHECK(answer.error().attempts() == 2);
    CHECK(answer.error().came_by().attempts.newest().took() == 2s);
    answer = call(world, recorded("aimock.unary"), again);
    REQUIRE(answer);
    CHECK(answer->head().came_by.attempts.size() == 2);
}

TEST_CASE("an answer cut in its body is a failure", "[openai]") {
    simulation::world world;
    auto answer = call(
        world,
        http_answer(200, R"({"choices":)").ends_in(error(error_kind::connection_lost, "reset")));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().kind() == error_kind::connection_lost);
    CHECK(answer.error().status() == 200);
    // Of a refusal the status says enough.
    answer = call(world,
                  http_answer(503, "{\"err").ends_in(error(error_kind::connection_lost, "reset")));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().kind() == error_kind::overloaded);
}

TEST_CASE("an answer over its limit is a failure", "[openai]") {
    simulation::world world;
    scripted_transport http(world.get_executor());
    http.then(http_answer(200, "{\"choices\":\"" + std::string(5000, 'x') + "\"}").in_pieces(100));
    auto service = openai(http, openai_options().base_url("http://h").no_key().max_body(1000));
    auto answer = world.wait(service(request("chat/completions", "{}")));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().kind() == error_kind::too_large);
    CHECK(http.open() == 0);
    CHECK(http.sent(0).max_body == 1000);
}

TEST_CASE("a unary call has a limit even if nobody set one", "[openai]") {
    simulation::world world;
    auto answer = call(world, recorded("aimock.unary").after(1h));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().kind() == error_kind::timeout);
    CHECK(world.elapsed() == 30s);
}

TEST_CASE("a call's own limit counts instead of the provider's", "[openai]") {
    simulation::world world;
    request ask("chat/completions", "{}");
    ask.options().deadline.until = world.now() + 2min;
    ask.options().first_event = 90s;
    auto answer = call(world, recorded("aimock.unary").after(80s), ask);
    CHECK(answer);
    ask.options().deadline.until = world.now() + 2min;
    answer = call(world, recorded("aimock.unary").after(100s), ask);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code() == "first_event_limit");
}

TEST_CASE("cancelling a call frees its connection and passes through", "[openai]") {
    simulation::world world;
    scripted_transport http(world.get_executor());
    http.then(recorded("aimock.unary").every(1h));
    auto client = pipeline(provider(http));
    {
        child<result<completion>> work(client.clock(), client.chat(chat_request("m").user("Hi")));
        world.run_for(1s);
        CHECK(http.open() == 1);
        work.cancel();
        world.poll();
        CHECK(http.open() == 0);
        CHECK_THROWS_AS(world.wait(work.join()), asio::system_error);
    }
    CHECK(client.calls_in_flight() == 0);
}

}  // namespace test_provider_openai
