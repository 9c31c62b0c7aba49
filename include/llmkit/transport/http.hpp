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
#include <llmkit/detail/pooled.hpp>
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
    task<result<http_response>> send(http_request ask) {
        return core_->shared ? shared_exchange(core_, std::move(ask))
                             : exchange(core_, std::move(ask));
    }

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

    // What there is to know of a call before it begins.
    struct plan {
        time_point start;
        detail::hop way;
        detail::exchange_limits limits;
        limit total;
    };
    static result<plan> planned(const core& shared, const http_request& ask) {
        const auto way = shared.connecting->way.towards(ask.target());
        if (!way) return way.error();
        if (auto sound = sendable(shared, ask); !sound) return sound.error();
        const time_point start = shared.time.now();
        return plan{start, *way, limits_of(shared, ask),
                    ask.deadline.earliest(after(start, shared.policy.total))};
    }

    // Over a connection that many calls share, unless the server knows only HTTP/1.1.
    static task<result<http_response>> shared_exchange(std::shared_ptr<core> shared,
                                                       http_request ask) {
        const auto how = planned(*shared, ask);
        if (!how) co_return how.error().with_where(ask.where());
        if (!how->way.forwards(ask.target()) && shared->shared->takes(ask.target())) {
            auto answer = co_await shared->shared->send(ask, how->limits, how->total);
            if (!answer) co_return answer.error().with_where(ask.where());
            if (*answer) co_return std::move(**answer);
        }
        ask.deadline = how->total;
        co_return co_await exchange(std::move(shared), std::move(ask));
    }

    // Over a connection of its own. What few calls need has coroutines of its own, so that the frame
    // of this one is small enough to be used again.
    static task<result<http_response>> exchange(std::shared_ptr<core> shared, http_request ask) {
        const auto failed = [&ask](const error& why) { return why.with_where(ask.where()); };
        const auto how = planned(*shared, ask);
        if (!how) co_return failed(how.error());
        for (bool replayed = false;; replayed = true) {
            auto place = detail::connection_pool::acquire_now(
                shared->pool, how->way.pool_key(ask.target()), how->start, replayed);
            if (!place) {
                auto waited = co_await wait_for_place(*shared, ask, *how, replayed);
                if (!waited) co_return failed(waited.error());
                place = std::move(*waited);
            }
            if (place.connection() && place.connection()->session) place.fill(nullptr);  // HTTP/2
            auto hold =
                detail::make_pooled<detail::connection_hold>(shared->time, std::move(place));
            detail::connection_hold::use working(*hold);
            hold->watch(how->total);
            if (!hold->connected()) {
                auto open = co_await connect(*shared, hold, ask, *how);
                if (!open) co_return failed(open.error());
            }
            detail::http1_connection& on = hold->connection();
            if (send(*hold, ask, how->way) == detail::sent::later) {
                const executor caller = co_await asio::this_coro::executor;
                hold->write_rest(caller);
            }
            result<bool> head = false;
            {
                detail::connection_hold::span patience(*hold, how->limits.first_event,
                                                       detail::cut_why::first_event);
                while (head && !*head) {
                    std::error_code broken;
                    const std::size_t count = co_await on.line.read_some(on.room(), broken);
                    head = detail::http1_head(*hold, count, broken, how->limits);
                }
            }
            if (!head && !replayed && stale(on, head.error())) continue;
            if (!head) co_return failed(head.error());
            co_return answered(hold, working, ask, *how);
        }
    }
    static result<http_response> answered(const std::shared_ptr<detail::connection_hold>& hold,
                                          detail::connection_hold::use& working,
                                          const http_request& ask, const plan& how) {
        auto answer = detail::http1_answer(hold, working, ask, how.limits);
        if (!answer) return answer.error().with_where(ask.where());
        // Only a proxy asks for this; a server's own word would be 401.
        if (answer->status() == 407 && how.way.forwards(ask.target()))
            return detail::proxy_login_error(*how.way.proxy, 407, answer->fields())
                .with_where(ask.where());
        return answer;
    }
    // The caller of these two keeps what they are given.
    static task<result<lease>> wait_for_place(const core& shared, const http_request& ask,
                                              const plan& how, bool fresh) {
        return detail::connection_pool::acquire(shared.pool, how.way.pool_key(ask.target()),
                                                how.total, fresh);
    }
    static task<result<void>> connect(const core& shared,
                                      const std::shared_ptr<detail::connection_hold>& hold,
                                      const http_request& ask, const plan& how) {
        hold->fill(std::make_unique<detail::http1_connection>(shared.sockets, shared.time.base(),
                                                              shared.parsing));
        return detail::establish(hold, shared.connecting, ask.target(), how.limits, how.total);
    }

    // A server closes idle connections when it likes. If it did so before it answered a byte, the
    // request is sent once more, over a new connection.
    static bool stale(const detail::http1_connection& on, const error& why) {
        return on.used && why.kind() == error_kind::connection_lost && !on.parser.started();
    }

    static result<void> speaks(const core& shared, const url& to) {
        if (!to.secure() || shared.connecting->secure) return {};
        return error(error_kind::configuration, "this transport was made without TLS")
            .with_advice(
                "Include <llmkit/transport/tls.hpp>, make it with http(executor, "
                "llmkit::tls()), and link the CMake target llmkit::tls.");
    }
    static result<void> sendable(const core& shared, const http_request& ask) {
        const url& to = ask.target();
        if (auto able = speaks(shared, to); !able) return able;
        std::string why;
        if (detail::sendable_request(ask.method(), to.target(), to.authority(), ask.fields(), why))
            return {};
        return error(error_kind::invalid_request, std::move(why));
    }
    static detail::sent send(detail::connection_hold& hold, const http_request& ask,
                             const detail::hop& way) {
        const url& to = ask.target();
        const std::string& method = ask.method();
        const bool sized =
            !ask.body().empty() || method == "POST" || method == "PUT" || method == "PATCH";
        const auto body =
            sized ? detail::http1_body::sized(ask.body().size()) : detail::http1_body::none();
        hold.connection().parser.reset(method);
        if (!way.forwards(to))
            return detail::http1_send(
                hold, {method, to.target(), to.authority(), ask.fields(), body}, ask.body());
        headers fields = ask.fields();
        const std::string& login = way.proxy->authorization();
        if (!login.empty()) fields.set("Proxy-Authorization", login);
        const std::string whole = to.text();
        return detail::http1_send(hold, {method, whole, to.authority(), fields, body}, ask.body());
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
