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
#include <llmkit/detail/pooled.hpp>
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

    /// One try. Not in the coroutine's frame, which Asio keeps for the next call only while it is
    /// small.
    struct attempted {
        attempted(const std::shared_ptr<core>& by, detail::openai_call made, request ask)
            : sent(std::move(made)),
              exchange(std::shared_ptr<const detail::openai_setup>(by, &by->setup), sent,
                       std::move(ask), by->http.clock()) {}

        task<result<http_response>> send(core& by) {
            sent.http.deadline = exchange.deadline(sent.streamed);
            return by.http.send(std::move(sent.http));
        }
        /// The head is there. What it says about the body:
        void head(const http_response& answer) {
            exchange.head(answer.status(), answer.shared_fields());
            fine = answer.status() >= 200 && answer.status() < 300;
            const std::string_view written = answer.fields().get("content-type").value_or("");
            json = written == "application/json";
            if (json) return;
            const std::string kind = detail::lower_case(written);
            events = kind.find("text/event-stream") != kind.npos;
            json = kind.find("json") != kind.npos;
            page = kind.find("text/html") != kind.npos;
        }

        detail::openai_call sent;
        detail::openai_exchange exchange;
        bool fine = false;    ///< the status is
        bool events = false;  ///< the content type is
        bool json = false;
        bool page = false;
    };
    using attempt_ptr = detail::pooled<attempted>;

    static result<attempt_ptr> prepare(const std::shared_ptr<core>& shared, request ask) {
        auto made = shared->setup.prepare(ask);
        if (made) return attempt_ptr(std::in_place, shared, std::move(*made), std::move(ask));
        provenance before;
        before.attempts = ask.options().attempts;
        return made.error().with_provenance(std::move(before));
    }

    static task<result<response>> call(std::shared_ptr<core> shared, request ask) {
        auto prepared = prepare(shared, std::move(ask));
        if (!prepared) co_return prepared.error();
        attempted& tried = **prepared;
        auto answer = co_await tried.send(*shared);
        if (!answer) co_return tried.exchange.fail(answer.error());
        tried.head(*answer);

        bytes start;
        if (tried.fine && tried.sent.streamed && !tried.events) {
            // A stream under another content type, or one piece although a stream was asked for?
            auto piece = co_await answer->read();
            if (!piece) co_return tried.exchange.fail(piece.error());
            start = std::move(*piece);
            tried.events = detail::looks_like_events(start.view());
        }
        if (tried.fine && tried.events) {
            auto opened = stream(*shared, tried, std::move(*answer), std::move(start));
            if (tried.sent.streamed) co_return opened;
            co_return co_await folded(std::move(opened));
        }

        const std::uint64_t most = shared->setup.options().max_body();
        detail::answer_pieces body(std::move(start),
                                   tried.fine ? most : std::min(most, longest_error));
        while (body.more()) {
            auto piece = co_await answer->read();
            body.add(std::move(piece));
        }
        co_return whole(tried, body.whole());
    }

    static response stream(const core& by, attempted& tried, http_response answer, bytes start) {
        response_head head = head_of(tried);
        head.streamed = tried.sent.streamed;
        return response(
            std::move(head),
            event_stream(std::make_unique<detail::openai_stream>(
                std::move(answer), std::move(tried.exchange), tried.sent,
                static_cast<std::size_t>(by.setup.options().max_body()), std::move(start))));
    }

    /// An answer in one piece.
    static result<response> whole(attempted& tried, result<bytes> read) {
        if (!read && tried.fine) return tried.exchange.fail(read.error());
        if (!read) return tried.exchange.refuse("");  // the status says enough
        bytes& body = *read;
        if (!tried.fine) return tried.exchange.refuse(body.view());
        event_facts facts;
        detail::json_string model;
        const bool well_formed = detail::scan_openai_body(body.view(), facts, model);
        if (!well_formed && (tried.sent.answers || tried.page || tried.json)) {
            return tried.exchange.nonsense("the answer is not JSON", body.view());
        }
        if (!tried.sent.answers) facts = event_facts();  // `error` may be an honest field there
        if (facts.error) return tried.exchange.refuse(body.view());
        facts.last = true;
        response_head head = head_of(tried);
        if (!model.empty()) head.model = model.str();
        event only(std::move(body), facts);
        if (tried.sent.streamed) {
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
    static task<result<response>> folded(response opened) {
        std::vector<event> chunks;
        event_stream& pulled = opened.events();
        while (auto item = co_await pulled.next()) chunks.push_back(std::move(*item));
        if (pulled.failed()) co_return pulled.error();
        auto body = openai_dialect().fold(chunks);
        if (!body) co_return body.error().with_provenance(opened.head().came_by);
        event_stream only(std::move(*body));
        co_return response(std::move(opened.head()), std::move(only));
    }

    static response_head head_of(attempted& tried) {
        detail::openai_exchange& exchange = tried.exchange;
        exchange.record();
        response_head head;
        head.status = exchange.status();
        head.speaks = tried.sent.answers ? &openai_dialect() : nullptr;
        head.model = exchange.fields()->get("openai-model").value_or(tried.sent.body.model);
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
