// llmkit/transport/curl.hpp: libcurl as a transport: HTTP/1.1 to HTTP/3, and its proxies.
#pragma once

#include <curl/curl.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/detail/http1_write.hpp>
#include <llmkit/transport/concept.hpp>
#include <llmkit/transport/curl_loop.hpp>
#include <llmkit/transport/curl_options.hpp>

namespace llmkit {

namespace detail {

/// A body that libcurl fills.
class curl_body final : public http_body {
public:
    curl_body(std::shared_ptr<curl_loop> loop, std::shared_ptr<curl_call> call, std::string where)
        : loop_(std::move(loop)), call_(std::move(call)), where_(std::move(where)) {}
    ~curl_body() override {
        if (call_) loop_->abandon(call_, error(error_kind::closed, "nobody reads the answer"));
    }

    task<result<bytes>> read() override {
        std::unique_lock lock(call_->mutex);
        for (;;) {
            if (!call_->piece.empty()) {
                bytes piece(std::exchange(call_->piece, std::string()));
                const bool resume = std::exchange(call_->paused, false);
                lock.unlock();
                if (resume) loop_->resume(call_);
                begun_ = true;
                co_return piece;
            }
            if (call_->failed()) co_return call_->failure->with_where(where_);
            if (call_->ended) co_return bytes();
            // Between two pieces: until the first one the caller's limit for that counts.
            const duration idle = begun_ ? call_->limits.idle : duration::max();
            limit until;
            until.until = after(loop_->time.now(), idle);
            interruption cancelled(*this);
            const woke why = co_await wait(lock, call_->ring, loop_->time, until);
            cancelled.dismiss();
            if (why == woke::by_bell || !call_->piece.empty()) continue;
            lock.unlock();
            loop_->abandon(call_,
                           curl_timeout("nothing more came for " + in_words(idle), "idle_limit"));
            lock.lock();
        }
    }
    void finish() override {
        loop_->drain(call_);
        call_ = nullptr;
    }

private:
    /// Lets go of the transfer when the frame that waits for it ends early.
    class interruption {
    public:
        explicit interruption(curl_body& of) : of_(&of) {}
        interruption(const interruption&) = delete;
        interruption& operator=(const interruption&) = delete;
        ~interruption() {
            if (!of_) return;
            of_->loop_->abandon(of_->call_, error(error_kind::closed,
                                                  "an earlier read of this answer was cancelled"));
        }
        void dismiss() { of_ = nullptr; }

    private:
        curl_body* of_;
    };

    std::shared_ptr<curl_loop> loop_;
    std::shared_ptr<curl_call> call_;
    std::string where_;
    bool begun_ = false;
};

/// Writes a request onto the call's handle.
inline result<void> curl_prepare(const curl_loop& loop, curl_call& call, const http_request& ask) {
    const std::string& method = ask.method();
    std::string unused, why;
    // What `http` would write is not needed, but what it would refuse is refused here, too.
    if (!write_request_head(unused, method, ask.target().target(), ask.target().authority(),
                            ask.fields(), http1_body::none(), why))
        return error(error_kind::invalid_request, std::move(why));
    const bool bare = method == "HEAD" || method == "CONNECT";
    if (method == "CONNECT" || (bare && !ask.body().empty()))
        return error(error_kind::invalid_request, "curl cannot send a body with HEAD, nor CONNECT");

    CURL* const to = call.easy;
    if (!to) return error(error_kind::configuration, "this libcurl does not work");
    if (const CURLcode refused = loop.options.apply(to); refused != CURLE_OK)
        return error(error_kind::configuration, std::string("this libcurl refuses an option: ") +
                                                    ::curl_easy_strerror(refused))
            .with_advice("Check curl_options against what `curl --version` says it can.");
    const auto set = [to](CURLoption option, auto value) { ::curl_easy_setopt(to, option, value); };
    set(CURLOPT_URL, ask.target().text().c_str());
    set(CURLOPT_PATH_AS_IS, 1L);
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_QUICK_EXIT, 1L);  // or cancelling waits for a name server that is silent
    set(CURLOPT_NOPROGRESS, 1L);
    set(CURLOPT_ERRORBUFFER, call.words);
    set(CURLOPT_CONNECTTIMEOUT_MS, 1'000'000'000L);  // limits are the clock's, not libcurl's
    set(CURLOPT_TIMEOUT_MS, 0L);
    const auto idle = std::chrono::ceil<std::chrono::seconds>(loop.options.policy().idle_timeout);
    set(CURLOPT_MAXAGE_CONN, static_cast<long>(std::clamp<std::int64_t>(idle.count(), 1, 86400)));
    // Before version 8 libcurl breaks a connection of HTTP/2 in clear when it uses it again
    // (https://github.com/curl/curl/pull/10643): there each call has one of its own.
    const bool clear2 =
        !ask.target().secure() && loop.options.version() == curl_version::http2_prior_knowledge;
    const bool breaks = clear2 && ::curl_version_info(CURLVERSION_NOW)->version_num < 0x080000;
    set(CURLOPT_FRESH_CONNECT, breaks ? 1L : 0L);
    set(CURLOPT_FORBID_REUSE, breaks ? 1L : 0L);
    // Waits for a connection that may be shared; in clear HTTP/1.1 none may.
    set(CURLOPT_PIPEWAIT, (ask.target().secure() || clear2) && !breaks ? 1L : 0L);

    set(CURLOPT_HEADERFUNCTION, &curl_call::on_header);
    set(CURLOPT_HEADERDATA, &call);
    set(CURLOPT_WRITEFUNCTION, &curl_call::on_body);
    set(CURLOPT_WRITEDATA, &call);
    set(CURLOPT_RESOLVER_START_FUNCTION, &curl_call::on_resolve);
    set(CURLOPT_RESOLVER_START_DATA, &call);
    set(CURLOPT_PREREQFUNCTION, &curl_call::on_request);
    set(CURLOPT_PREREQDATA, &call);
    set(CURLOPT_SOCKOPTFUNCTION, &curl_call::on_connect);
    set(CURLOPT_SOCKOPTDATA, &call);

    const bool sized =
        !ask.body().empty() || method == "POST" || method == "PUT" || method == "PATCH";
    if (method == "HEAD") {
        set(CURLOPT_NOBODY, 1L);
    } else if (sized) {
        set(CURLOPT_POST, 1L);
        set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(ask.body().size()));
        set(CURLOPT_POSTFIELDS, ask.body().empty() ? "" : ask.body().view().data());
    } else {
        set(CURLOPT_HTTPGET, 1L);
    }
    if (method != "HEAD") set(CURLOPT_CUSTOMREQUEST, method.c_str());

    // A name with a colon and nothing behind it keeps libcurl from adding a field of its own; one
    // with a semicolon is sent without a value.
    const auto send = [&call](const std::string& line) {
        if (auto* const longer = ::curl_slist_append(call.fields_sent, line.c_str()))
            call.fields_sent = longer;
    };
    for (const char* const own : {"Accept", "Content-Type", "Expect"})
        if (!ask.fields().contains(own)) send(std::string(own) + ':');
    for (const auto [name, value] : ask.fields()) {
        const std::string_view shown = trim_blanks(value);
        send(shown.empty() ? std::string(name) + ';'
                           : std::string(name).append(": ").append(shown));
    }
    set(CURLOPT_HTTPHEADER, call.fields_sent);
    call.reset_parser(method);
    return {};
}

}  // namespace detail

/// How busy a `curl` transport is at this moment.
struct curl_figures {
    std::size_t calls = 0;    ///< under way, those that wait for a connection included
    std::size_t waiting = 0;  ///< of these, for a connection
};

/// The transport that `curl()` makes. Copies share one set of connections. Safe from any thread.
///
/// libcurl runs on one lane of the executor's context, without a thread of its own. May be dropped
/// with calls in flight, and may outlive its io_context.
class curl_transport {
public:
    curl_transport(const executor& on, curl_options options)
        : loop_(std::make_shared<detail::curl_loop>(on, std::move(options))) {}

    clock_handle clock() const { return loop_->time; }
    task<result<http_response>> send(http_request ask) { return located(loop_, std::move(ask)); }

    curl_figures connections() const {
        const auto& counted = *loop_->counters;
        return {counted.calls.load(), counted.waiting.load()};
    }

private:
    using loop_ptr = std::shared_ptr<detail::curl_loop>;
    using call_ptr = std::shared_ptr<detail::curl_call>;

    static task<result<http_response>> located(loop_ptr loop, http_request ask) {
        std::string where = ask.where();
        auto answer = co_await attempt(std::move(loop), std::move(ask));
        if (!answer) co_return answer.error().with_where(std::move(where));
        co_return answer;
    }

    /// Lets go of the transfer when the frame that waits for it ends early.
    class sender {
    public:
        sender(loop_ptr loop, call_ptr call) : loop_(std::move(loop)), call_(std::move(call)) {}
        sender(const sender&) = delete;
        sender& operator=(const sender&) = delete;
        ~sender() {
            if (call_) loop_->abandon(call_, error(error_kind::closed, "the call was cancelled"));
        }
        void dismiss() { call_ = nullptr; }

    private:
        loop_ptr loop_;
        call_ptr call_;
    };

    static task<result<http_response>> attempt(loop_ptr loop, http_request ask) {
        const curl_policy& policy = loop->options.policy();
        detail::curl_limits limits;
        limits.connect = std::min(ask.connect, policy.connect);
        limits.first_event = std::min(ask.first_event, policy.first_event);
        limits.idle = std::min(ask.idle, policy.idle);
        limits.max_body = std::min(ask.max_body, policy.max_body);
        detail::http1_limits parsing;
        parsing.head_bytes = std::max<std::size_t>(policy.max_head, 1024);
        parsing.line_bytes = std::min(parsing.line_bytes, parsing.head_bytes);
        auto call = std::make_shared<detail::curl_call>(loop->time, loop->counters, limits, parsing,
                                                        ask.body());
        call->easy = loop->handle();
        if (auto refused = detail::curl_prepare(*loop, *call, ask); !refused)
            co_return refused.error();

        sender guard(loop, call);
        const limit total = ask.deadline.earliest(after(loop->time.now(), policy.total));
        call->total.emplace(loop->time, total, detail::curl_cut{loop, call});
        loop->start(call);

        std::unique_lock lock(call->mutex);
        while (!call->failed() && call->phase != detail::curl_phase::answered) {
            limit until;
            until.until = call->patience();
            const woke why = co_await wait(lock, call->ring, loop->time, until);
            const bool over = call->patience() <= loop->time.now();
            if (why == woke::by_bell || !over || call->failed()) continue;
            const error late = call->impatience();
            lock.unlock();
            loop->abandon(call, late);
            lock.lock();
        }
        if (call->phase != detail::curl_phase::answered) {
            guard.dismiss();
            const error why = *call->failure;
            lock.unlock();
            call->total.reset();
            co_return why;
        }
        const int status = call->status;
        auto fields = call->fields;
        if (call->ended) {
            guard.dismiss();
            std::string whole = std::move(call->piece);
            lock.unlock();
            call->total.reset();
            co_return http_response(status, std::move(fields), bytes(std::move(whole)));
        }
        lock.unlock();
        auto body = std::make_unique<detail::curl_body>(loop, call, ask.where());
        guard.dismiss();
        co_return http_response(status, std::move(fields), std::move(body));
    }

    loop_ptr loop_;
};
static_assert(transport<curl_transport>);

/// libcurl as a transport, in place of `http`. Needs libcurl 7.87 or newer (CMake target
/// `llmkit::curl`).
///
///     #include <llmkit/transport/curl.hpp>
///     auto client = llmkit::pipeline(llmkit::openai(llmkit::curl(executor))) | llmkit::retry();
///
/// Costs several times what `http` does. It is for what `http` has not: HTTP/3 where libcurl has
/// it, SOCKS and corporate proxies, and whatever else `curl_options::configure` can set.
inline curl_transport curl(const executor& on, curl_options options = {}) {
    return curl_transport(on, std::move(options));
}

}  // namespace llmkit
