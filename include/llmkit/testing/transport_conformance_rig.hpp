// llmkit/testing/transport_conformance_rig.hpp: what checks of a transport run on and say.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/testing/http_server.hpp>
#include <llmkit/testing/transport_conformance_check.hpp>
#include <llmkit/transport/concept.hpp>

namespace llmkit::detail {

using testing::finding;
using testing::http_server;

/// Stands in every request's query and in its key, and in no error.
inline constexpr std::string_view conformance_secret = "s3cr3t";

/// How long a check waits for what must come, before it calls it missing.
inline constexpr auto conformance_patience = std::chrono::seconds(20);

/// One exchange, to its end.
class exchanged {
public:
    exchanged() {}
    bool failed() const { return failure.kind() != error_kind::unset; }

    int status = 0;
    headers fields;
    std::string body;  ///< also what came before a failure
    error failure;
    std::string twice;  ///< what another read gave after the end or the failure, if not the same
};

/// Sends and reads all; then reads twice more, because an end and a failure must last.
inline task<exchanged> exchange(testing::any_transport with, http_request ask) {
    exchanged got;
    auto answer = co_await with.send(std::move(ask));
    if (!answer) {
        got.failure = answer.error();
        co_return got;
    }
    got.status = answer->status();
    got.fields = answer->fields();
    for (int after_end = 0; after_end < 3;) {
        auto piece = co_await answer->read();
        const bool more = piece && !piece->empty();
        if (after_end > 0) {
            const error_kind now = piece ? error_kind::unset : piece.error().kind();
            if (more || now != got.failure.kind())
                got.twice = "read again after its end, the body gave something else";
            ++after_end;
        } else if (more) {
            got.body += piece->view();
        } else {
            if (!piece) got.failure = piece.error();
            ++after_end;
        }
    }
    co_return got;
}

/// An error is of one of these kinds, says where it happened, and tells no secret.
inline finding is_error(const error& why, std::initializer_list<error_kind> kinds) {
    const std::string text = why.to_string();
    if (why.kind() == error_kind::unset) return finding("it succeeded, but must fail");
    if (text.find(conformance_secret) != std::string::npos)
        return finding("a secret of the request stands in the error: " + text);
    if (why.where().empty()) return finding("the error does not say where it happened: " + text);
    for (const error_kind kind : kinds)
        if (why.kind() == kind) return finding();
    std::string wanted;
    for (const error_kind kind : kinds)
        wanted.append(wanted.empty() ? "" : " or ").append(to_string(kind));
    return finding("the error should be of kind " + wanted + ", but is: " + text);
}
inline finding fails(const exchanged& got, std::initializer_list<error_kind> kinds) {
    if (!got.twice.empty()) return finding(got.twice);
    if (!got.failed())
        return finding(
            fmt::format("it succeeded ({}, {} bytes), but must fail", got.status, got.body.size()));
    return is_error(got.failure, kinds);
}

/// The exchange went well and brought this.
inline finding brings(const exchanged& got, int status, std::string_view body) {
    if (got.failed()) return finding("it failed: " + got.failure.to_string());
    if (!got.twice.empty()) return finding(got.twice);
    if (got.status != status)
        return finding(fmt::format("the status is {}, not {}", got.status, status));
    if (got.body == body) return finding();
    if (got.body.size() != body.size())
        return finding(fmt::format("the body has {} bytes, not {}", got.body.size(), body.size()));
    return finding("the body has the right size, but other bytes");
}

inline finding expect(bool right, std::string_view otherwise) {
    return right ? finding() : finding(std::string(otherwise));
}

/// A fresh loop with a fresh transport, run by the calling thread.
class transport_loop {
public:
    explicit transport_loop(const testing::transport_maker& make)
        : context_(std::in_place), transport_(make(context_->get_executor())) {}
    transport_loop(const transport_loop&) = delete;
    transport_loop& operator=(const transport_loop&) = delete;
    ~transport_loop() {
        transport_.reset();
        context_.reset();
    }

    testing::any_transport& transport() { return *transport_; }
    asio::io_context& context() { return *context_; }
    void drop_transport() { transport_.reset(); }
    void drop_context() { context_.reset(); }

    /// Runs the loop until `met()`; false when that took too long or nothing is left to do.
    template <class Condition>
    bool run_until(Condition met) {
        const auto end = std::chrono::steady_clock::now() + conformance_patience;
        context_->restart();
        while (!met() && std::chrono::steady_clock::now() < end) {
            if (context_->run_one_for(std::chrono::milliseconds(100)) == 0 && context_->stopped())
                return met();
        }
        return met();
    }
    /// Runs `work` to its end.
    finding run(task<finding> work) {
        const auto end = std::make_shared<std::optional<finding>>();
        asio::co_spawn(*context_, std::move(work), [end](std::exception_ptr thrown, finding f) {
            *end = thrown ? finding("it threw: " + words_of(thrown)) : std::move(f);
        });
        if (run_until([end] { return end->has_value(); })) return **end;
        return finding("the call never came back");
    }

private:
    static std::string words_of(const std::exception_ptr& thrown) {
        try {
            std::rethrow_exception(thrown);
        } catch (const std::exception& e) {
            return e.what();
        } catch (...) {
            return "something that is no std::exception";
        }
    }

    std::optional<asio::io_context> context_;
    std::optional<testing::any_transport> transport_;
};

/// A server, and a loop with a transport that calls it.
class transport_rig {
public:
    transport_rig(const testing::transport_maker& make, http_server::handler answer,
                  const testing::http_server_policy& policy = {})
        : server(std::move(answer), policy), loop(make) {}

    http_server server;
    transport_loop loop;

    testing::any_transport transport() { return loop.transport(); }
    finding run(task<finding> work) { return loop.run(std::move(work)); }

    /// A request with a key in its header and in its query, neither of which may show in an error.
    http_request ask(std::string method = "GET", std::string_view path = "/p",
                     bytes body = {}) const {
        return ask_at(server.origin(), std::move(method), path, std::move(body));
    }
    static http_request ask_at(std::string_view origin, std::string method = "GET",
                               std::string_view path = "/p", bytes body = {}) {
        std::string why;
        const auto where =
            url::parse(fmt::format("{}{}?key={}", origin, path, conformance_secret), why);
        if (!where) throw std::invalid_argument(why);
        http_request made(std::move(method), *where, {}, std::move(body));
        made.fields().add("Authorization", fmt::format("Bearer {}", conformance_secret));
        return made;
    }
};

/// Waits, while the loop goes on, until `met()`; false when that took too long.
template <class Condition>
task<bool> comes_true(Condition met) {
    const clock_handle time(co_await asio::this_coro::executor);
    const time_point end = time.now() + conformance_patience;
    bool now = met();
    while (!now && time.now() < end) {
        co_await sleep_for(time, std::chrono::milliseconds(1));
        now = met();
    }
    co_return now;
}

/// Text in which a lost, doubled or swapped piece shows.
inline std::string conformance_text(std::size_t size) {
    std::string text(size, '\0');
    std::uint64_t state = 1;
    for (char& c : text) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        c = static_cast<char>(state >> 56);
    }
    return text;
}

}  // namespace llmkit::detail
