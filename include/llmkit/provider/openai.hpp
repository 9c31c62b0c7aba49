// llmkit/provider/openai.hpp: call OpenAI, or any server that speaks its API.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/core/service.hpp>
#include <llmkit/provider/openai_dialect.hpp>
#include <llmkit/provider/openai_exchange.hpp>
#include <llmkit/provider/openai_options.hpp>
#include <llmkit/provider/openai_request.hpp>
#include <llmkit/provider/openai_stream.hpp>
#include <llmkit/transport/concept.hpp>

namespace llmkit {

/// What `openai()` makes: a service, as a handle that is cheap to copy and safe from any thread.
///
/// A request's operation is the path after the base URL: "chat/completions", "embeddings",
/// "models" (an empty body is a GET), or any other, whose answer is handed over as it is. A 2xx
/// answer is a response; every other one an error by its kind, with the provider's words, its
/// request id and its wish when to ask again. Each try is written into the record of attempts,
/// `origin()` naming the upstream.
///
/// Streams: every chunk is an event, `[DONE]` the last one. A chunk that only brings usage which a
/// layer asked for is marked `injected`. A server that answers in one piece although a stream was
/// asked for, or the other way round, is understood. Keys never appear in errors.
template <transport Transport>
class openai_service {
public:
    openai_service(Transport transport, openai_options options)
        : core_(std::make_shared<core>(std::move(transport), std::move(options))) {}

    task<result<response>> operator()(request ask) const { return call(core_, std::move(ask)); }
    clock_handle clock() const { return core_->http.clock(); }
    /// "openai " and the base URL, without its query.
    std::string origin() const { return core_->setup.origin(); }

private:
    static constexpr std::uint64_t longest_error = 1U << 20U;

    struct core {
        core(Transport transport, openai_options options)
            : http(std::move(transport)), setup(std::move(options)) {}
        Transport http;
        const detail::openai_setup setup;
    };

    static task<result<response>> call(std::shared_ptr<core> shared, request ask) {
        auto prepared = shared->setup.prepare(ask);
        if (!prepared) {
            provenance before;
            before.attempts = ask.options().attempts;
            co_return prepared.error().with_provenance(std::move(before));
        }
        detail::openai_call& sent = *prepared;
        detail::openai_exchange exchange(shared->setup, sent, ask, shared->http.clock());
        sent.http.deadline = exchange.deadline(sent.streamed);
        auto answer = co_await shared->http.send(std::move(sent.http));
        if (!answer) co_return exchange.fail(answer.error());
        exchange.head(answer->status(), answer->shared_fields());

        const int status = answer->status();
        const std::string kind =
            detail::lower_case(answer->fields().get("content-type").value_or(""));
        const bool fine = status >= 200 && status < 300;
        const bool events = kind.find("text/event-stream") != kind.npos;
        bytes start;
        if (fine && sent.streamed && !events) {
            // A stream under another content type, or one piece although a stream was asked for?
            auto piece = co_await answer->read();
            if (!piece) co_return exchange.fail(piece.error());
            start = std::move(*piece);
        }
        if (fine && (events || detail::looks_like_events(start.view()))) {
            response_head head = head_of(exchange, sent);
            std::unique_ptr<stream_source> source = std::make_unique<detail::openai_stream>(
                std::move(*answer), std::move(exchange), sent,
                static_cast<std::size_t>(shared->setup.options().max_body()), std::move(start));
            if (!sent.streamed) co_return co_await folded(std::move(head), std::move(source));
            head.streamed = true;
            event_stream pulled(std::move(source));
            co_return response(std::move(head), std::move(pulled));
        }

        const std::uint64_t most = shared->setup.options().max_body();
        auto body = co_await detail::whole_answer(*answer, std::move(start),
                                                  fine ? most : std::min(most, longest_error));
        if (!body && fine) co_return exchange.fail(body.error());
        if (!body) co_return exchange.refuse("");  // the status says enough
        if (!fine) co_return exchange.refuse(body->view());
        co_return whole(exchange, sent, std::move(*body), kind);
    }

    /// An answer in one piece.
    static result<response> whole(detail::openai_exchange& exchange,
                                  const detail::openai_call& sent, bytes body,
                                  std::string_view kind) {
        event_facts facts;
        detail::json_string model;
        const bool json = detail::scan_openai_body(body.view(), facts, model);
        const bool page = kind.find("text/html") != kind.npos;
        if (!json && (sent.answers || page || kind.find("json") != kind.npos)) {
            return exchange.nonsense("the answer is not JSON", body.view());
        }
        if (!sent.answers) facts = event_facts();  // `error` may be an honest field there
        if (facts.error) return exchange.refuse(body.view());
        facts.last = true;
        response_head head = head_of(exchange, sent);
        if (!model.empty()) head.model = model.str();
        event only(std::move(body), facts);
        if (sent.streamed) {
            if (auto chunks = openai_dialect().unfold(only)) {
                head.streamed = true;
                return response(
                    std::move(head),
                    event_stream(std::make_unique<detail::ready_events>(std::move(*chunks))));
            }
        }
        return response(std::move(head), event_stream(std::move(only)));
    }

    /// A stream although one piece was asked for.
    static task<result<response>> folded(response_head head,
                                         std::unique_ptr<stream_source> source) {
        std::vector<event> chunks;
        event_stream pulled(std::move(source));
        while (auto item = co_await pulled.next()) chunks.push_back(std::move(*item));
        if (pulled.failed()) co_return pulled.error();
        auto body = openai_dialect().fold(chunks);
        if (!body) co_return body.error().with_provenance(head.came_by);
        event_stream only(std::move(*body));
        co_return response(std::move(head), std::move(only));
    }

    static response_head head_of(detail::openai_exchange& exchange,
                                 const detail::openai_call& sent) {
        exchange.record();
        response_head head;
        head.status = exchange.status();
        head.speaks = sent.answers ? &openai_dialect() : nullptr;
        head.model = exchange.fields()->get("openai-model").value_or(sent.body.model);
        head.request_id = exchange.request_id();
        head.fields = exchange.fields();
        head.came_by = exchange.came_by();
        return head;
    }

    std::shared_ptr<core> core_;
};

/// The provider of OpenAI's API, and of the many servers that speak it: Azure, llama.cpp, vLLM,
/// Ollama, Groq, OpenRouter and others.
///
///     auto http   = llmkit::http(co_await asio::this_coro::executor, llmkit::tls());
///     auto client = llmkit::pipeline(llmkit::openai(http)) | llmkit::retry();
///
///     llmkit::openai(http, key);
///     llmkit::openai(http,
///     llmkit::openai_options().base_url("http://localhost:8080/v1").no_key());
///
/// Reads `OPENAI_API_KEY` and `OPENAI_BASE_URL` now, unless told otherwise.
template <transport Transport>
openai_service<Transport> openai(Transport http, openai_options options = openai_options()) {
    return openai_service<Transport>(std::move(http), std::move(options));
}
template <transport Transport>
openai_service<Transport> openai(Transport http, std::string key) {
    return openai_service<Transport>(std::move(http), openai_options().key(std::move(key)));
}
template <transport Transport>
openai_service<Transport> openai(Transport http, const char* key) {
    return openai(std::move(http), std::string(key));
}

}  // namespace llmkit
