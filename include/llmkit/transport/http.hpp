// llmkit/transport/http.hpp: HTTP over sockets: pooled, limited, cancellable.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/detail/http1_write.hpp>
#include <llmkit/transport/channel.hpp>
#include <llmkit/transport/concept.hpp>
#include <llmkit/transport/connect.hpp>
#include <llmkit/transport/http1.hpp>
#include <llmkit/transport/options.hpp>
#include <llmkit/transport/warm_up.hpp>

namespace llmkit {

/// The transport that `http()` makes. Copies share one pool of connections. Safe from any thread.
///
/// The caller's coroutine uses the socket itself, so where several threads run one io_context,
/// calls run on strands; `run` and pipelines' children do. May be dropped with calls in flight, and
/// may outlive its io_context.
class http_transport {
public:
    http_transport(const executor& on, http_options options)
        : core_(std::make_shared<core>(on, std::move(options))) {}

    clock_handle clock() const { return core_->time; }
    task<result<http_response>> send(http_request ask) { return located(core_, std::move(ask)); }

    /// Opens up to `count` connections to the host of a URL and leaves them idle, so that the first
    /// calls need not wait for name, address and TLS.
    ///
    ///     auto ready = co_await http.warm_up("https://api.openai.com", 8);
    ///
    /// Idle ones count; how many are ready is the answer, less than `count` where the policy allows
    /// no more (`max_idle` above all) or some could not be opened; an error when none could. They
    /// are closed after `idle_timeout` like any other. Where HTTP/2 is spoken, all calls find room
    /// on one connection, so one is opened.
    task<result<std::size_t>> warm_up(std::string where, std::size_t count) {
        return warm_up(core_, std::move(where), count);
    }

    /// The connections: how many there are, and what became of them since the transport was made.
    pool_figures connections() const {
        pool_figures now = core_->pool->figures();
        core_->connecting->counts.add_to(now);
        if (core_->shared) now.waiting += core_->shared->waiting();
        return now;
    }
    /// The same for `metrics::watch`, which may keep a transport as long as it likes.
    std::vector<reading> readings() const { return connections().readings(); }

private:
    using lease = detail::connection_pool::lease;

    struct core {
        core(const executor& on, http_options options)
            : time(on),
              policy(options.policy()),
              sockets(detail::socket_registry_service::of(on)),
              pool(std::make_shared<detail::connection_pool>(sockets, time, policy)),
              connecting(std::make_shared<const detail::connector>(
                  sockets, time, policy, options.tls(),
                  options.route() ? *options.route() : environment_proxies())) {
            parsing.head_bytes = std::max<std::size_t>(policy.max_head, 1024);
            parsing.line_bytes = std::min(parsing.line_bytes, parsing.head_bytes);
            if (options.http2()) shared = options.http2().maker().make(site());
        }
        core(const core&) = delete;
        core& operator=(const core&) = delete;
        // Answers may outlive the transport, and so may the pool; nobody is left to call again.
        ~core() { pool->background().stop(); }
        const clock_handle time;
        const http_policy policy;
        detail::http1_limits parsing;
        const std::shared_ptr<detail::socket_registry> sockets;
        const std::shared_ptr<detail::connection_pool> pool;
        const std::shared_ptr<const detail::connector> connecting;
        std::shared_ptr<detail::multiplexer> shared;

    private:
        // By parts: connections may be made longer than this lives.
        detail::multiplex_site site() const {
            const auto open = [with = connecting, parsing = parsing](
                                  std::shared_ptr<detail::connection_hold> hold, url to,
                                  detail::exchange_limits limits) {
                return open_shared(with, parsing, std::move(hold), std::move(to), limits);
            };
            return {time, pool, open, policy};
        }
    };

    static task<result<std::string>> open_shared(std::shared_ptr<const detail::connector> with,
                                                 detail::http1_limits parsing,
                                                 std::shared_ptr<detail::connection_hold> hold,
                                                 url to, detail::exchange_limits limits) {
        hold->fill(
            std::make_unique<detail::http1_connection>(with->sockets, with->time.base(), parsing));
        auto open = co_await detail::establish(hold, std::move(with), to, limits, limit(),
                                               detail::http2_or_1);
        if (!open) co_return open.error();
        co_return std::string(hold->connection().line.protocol());
    }

    static task<result<std::size_t>> warm_up(std::shared_ptr<core> shared, std::string where,
                                             std::size_t count) {
        std::string why;
        const auto to = url::parse(where, why);
        if (!to) co_return error(error_kind::configuration, std::move(why));
        if (auto able = speaks(*shared, *to); !able) co_return able.error();
        const auto way = shared->connecting->way.towards(*to);
        if (!way) co_return way.error();
        detail::exchange_limits limits;
        limits.connect = shared->policy.connect;
        if (shared->shared && count > 0 && !way->forwards(*to) && shared->shared->takes(*to)) {
            auto ready = co_await shared->shared->warm_up(*to, limits);
            if (!ready) co_return ready.error();
            if (*ready) co_return **ready;
        }
        co_return co_await detail::warm_up(shared->connecting, shared->parsing, shared->pool, *to,
                                           std::min(count, shared->policy.max_idle), limits);
    }

    static task<result<http_response>> located(std::shared_ptr<core> shared, http_request ask) {
        auto answer = co_await attempt(shared, ask);
        if (!answer) co_return answer.error().with_where(ask.where());
        co_return answer;
    }

    // The caller keeps both.
    static task<result<http_response>> attempt(const std::shared_ptr<core>& shared,
                                               const http_request& ask) {
        const auto way = shared->connecting->way.towards(ask.target());
        if (!way) co_return way.error();
        std::string head;
        if (auto refused = write_head(*shared, ask, *way, head); !refused)
            co_return refused.error();
        const detail::exchange_limits limits = limits_of(*shared, ask);
        const time_point start = shared->time.now();
        const limit total = ask.deadline.earliest(after(start, shared->policy.total));

        if (shared->shared && !way->forwards(ask.target()) && shared->shared->takes(ask.target())) {
            auto answer = co_await shared->shared->send(ask, limits, total);
            if (!answer) co_return answer.error();
            if (*answer) co_return std::move(**answer);
        }
        for (bool replayed = false;; replayed = true) {
            auto place = co_await detail::connection_pool::acquire(
                shared->pool, way->pool_key(ask.target()), total, replayed);
            if (!place) co_return place.error();
            if (place->connection() && place->connection()->session)
                place->fill(nullptr);  // HTTP/2
            auto hold = std::make_shared<detail::connection_hold>(shared->time, std::move(*place));
            detail::connection_hold::guard unfinished(*hold);
            detail::connection_hold::user sending(*hold);
            hold->watch(total);
            if (!hold->connected()) {
                hold->fill(std::make_unique<detail::http1_connection>(
                    shared->sockets, shared->time.base(), shared->parsing));
                auto open = co_await detail::establish(hold, shared->connecting, ask.target(),
                                                       limits, total);
                if (!open) co_return open.error();
            }
            // It was moved away by the first attempt, and could be written then.
            if (replayed) static_cast<void>(write_head(*shared, ask, *way, head));
            auto answer = co_await detail::http1_exchange(hold, ask, std::move(head), limits);
            if (answer) {
                // Only a proxy asks for this; a server's own word would be 401.
                if (way->forwards(ask.target()) && answer->status() == 407)
                    co_return detail::proxy_login_error(*way->proxy, 407, answer->fields());
                unfinished.dismiss();
                co_return answer;
            }
            if (replayed || !stale(*hold, answer.error())) co_return answer;
        }
    }

    // A server closes idle connections when it likes. If it did so before it answered a byte, the
    // request is sent once more, over a new connection.
    static bool stale(detail::connection_hold& hold, const error& why) {
        detail::http1_connection& on = hold.connection();
        return on.used && why.kind() == error_kind::connection_lost && !on.parser.started();
    }

    static result<void> speaks(const core& shared, const url& to) {
        if (!to.secure() || shared.connecting->secure) return {};
        return error(error_kind::configuration, "this transport was made without TLS")
            .with_advice(
                "Include <llmkit/transport/tls.hpp>, make it with http(executor, "
                "llmkit::tls()), and link the CMake target llmkit::tls.");
    }
    static result<void> write_head(const core& shared, const http_request& ask,
                                   const detail::hop& way, std::string& head) {
        const url& to = ask.target();
        if (auto able = speaks(shared, to); !able) return able;
        const std::string& method = ask.method();
        const bool sized =
            !ask.body().empty() || method == "POST" || method == "PUT" || method == "PATCH";
        const auto body =
            sized ? detail::http1_body::sized(ask.body().size()) : detail::http1_body::none();
        std::string why;
        head.clear();
        head.reserve(512);
        if (way.forwards(to)) {
            headers fields = ask.fields();
            const std::string& login = way.proxy->authorization();
            if (!login.empty()) fields.set("Proxy-Authorization", login);
            if (detail::write_request_head(head, method, to.text(), to.authority(), fields, body,
                                           why))
                return {};
        } else if (detail::write_request_head(head, method, to.target(), to.authority(),
                                              ask.fields(), body, why)) {
            return {};
        }
        return error(error_kind::invalid_request, std::move(why));
    }

    static detail::exchange_limits limits_of(const core& shared, const http_request& ask) {
        const http_policy& policy = shared.policy;
        detail::exchange_limits limits;
        limits.connect = std::min(ask.connect, policy.connect);
        limits.first_event = std::min(ask.first_event, policy.first_event);
        limits.idle = std::min(ask.idle, policy.idle);
        limits.max_body = std::min(ask.max_body, policy.max_body);
        return limits;
    }

    std::shared_ptr<core> core_;
};

/// The transport for `options`: everything it can do is said there.
///
///     auto transport = llmkit::http(executor, llmkit::http_options().tls(llmkit::tls()));
inline http_transport http(const executor& on, http_options options) {
    return http_transport(on, std::move(options));
}

/// Plain HTTP. A request to an https URL is an error of kind `configuration`.
///
///     auto transport = llmkit::http(co_await asio::this_coro::executor);
inline http_transport http(const executor& on, const http_policy& policy = {}) {
    return http_transport(on, http_options().policy(policy));
}

/// HTTP and HTTPS.
///
///     #include <llmkit/transport/tls.hpp>
///     auto transport = llmkit::http(co_await asio::this_coro::executor, llmkit::tls());
inline http_transport http(const executor& on, encryption secure, const http_policy& policy = {}) {
    return http_transport(on, http_options().tls(std::move(secure)).policy(policy));
}

static_assert(transport<http_transport>);

}  // namespace llmkit
