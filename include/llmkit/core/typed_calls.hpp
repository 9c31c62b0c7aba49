// llmkit/core/typed_calls.hpp: chat, stream and embed, for people.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/chat_request.hpp>
#include <llmkit/core/chat_stream.hpp>
#include <llmkit/core/request.hpp>
#include <llmkit/core/response.hpp>

namespace llmkit {

namespace detail {

/// A unary answer's one event, which was peeked at or is at hand.
inline result<event> whole_body(response& answer) {
    stream_item item;
    answer.events().try_next(item);
    if (item) return std::move(*item);
    if (item.failed()) return item.error();
    return error(error_kind::truncated, "the answer ended before its body");
}

inline error no_dialect(std::string_view operation) {
    return error(error_kind::configuration,
                 fmt::format("nothing here can read the answer to \"{}\"", operation))
        .with_advice("Use a provider that knows this operation, or read the raw events.");
}
}  // namespace detail

/// Typed calls on top of a service's raw one. `Client` is a copyable handle, such as a pipeline.
///
/// Each call also takes any Asio completion token as a last argument; it then starts at once on
/// the clock's executor and completes with `void(std::exception_ptr, T)`:
///
///     client.chat(std::move(ask), asio::use_future).get();
template <class Client>
class typed_calls {
public:
    /// A whole answer. Asked for in one piece; a cached stream serves as well.
    task<result<completion>> chat(chat_request ask) const {
        return read_chat(self(), ask.to_request());
    }
    /// An answer as it is written. Never fails itself: the stream does.
    task<chat_stream> stream(chat_request ask) const {
        request raw = ask.to_request();
        raw.options().streamed = true;
        return read_stream(self(), std::move(raw));
    }
    task<result<embeddings>> embed(embed_request ask) const {
        return read_embeddings(self(), ask.to_request());
    }
    /// The vectors of some texts.
    template <class... Texts>
        requires(sizeof...(Texts) > 0 && (std::convertible_to<Texts, std::string_view> && ...))
    task<result<embeddings>> embed(std::string model, const Texts&... texts) const {
        embed_request ask(std::move(model));
        (ask.input(texts), ...);
        return embed(std::move(ask));
    }

    template <class Token>
    auto chat(chat_request ask, Token&& token) const {
        return spawn(chat(std::move(ask)), std::forward<Token>(token));
    }
    template <class Token>
    auto stream(chat_request ask, Token&& token) const {
        return spawn(stream(std::move(ask)), std::forward<Token>(token));
    }
    template <class Token>
    auto embed(embed_request ask, Token&& token) const {
        return spawn(embed(std::move(ask)), std::forward<Token>(token));
    }

private:
    const Client& self() const { return static_cast<const Client&>(*this); }

    template <class T, class Token>
    auto spawn(task<T> work, Token&& token) const {
        return asio::co_spawn(self().clock().base(), std::move(work), std::forward<Token>(token));
    }

    static task<result<completion>> read_chat(Client client, request ask) {
        auto answer = co_await client(std::move(ask));
        if (!answer) co_return answer.error();
        if (!answer->events().single()) co_await answer->events().peek();
        co_return read_chat(*answer);
    }
    static result<completion> read_chat(response& answer) {
        auto body = detail::whole_body(answer);
        if (!body) return body.error();
        if (!answer.head().speaks) return detail::no_dialect("chat/completions");
        auto read = answer.head().speaks->read_completion(*body);
        if (read) {
            read->set_provenance(std::move(answer.head().came_by));
            read->set_raw(std::move(*body));
        }
        return read;
    }
    static task<chat_stream> read_stream(Client client, request ask) {
        auto answer = co_await client(std::move(ask));
        chat_stream opened(std::move(answer));
        co_return opened;
    }
    static task<result<embeddings>> read_embeddings(Client client, request ask) {
        auto answer = co_await client(std::move(ask));
        if (!answer) co_return answer.error();
        if (!answer->events().single()) co_await answer->events().peek();
        co_return read_embeddings(*answer);
    }
    static result<embeddings> read_embeddings(response& answer) {
        auto body = detail::whole_body(answer);
        if (!body) return body.error();
        if (!answer.head().speaks) return detail::no_dialect("embeddings");
        auto read = answer.head().speaks->read_embeddings(*body);
        if (read) read->came_by = std::move(answer.head().came_by);
        return read;
    }
};

}  // namespace llmkit
