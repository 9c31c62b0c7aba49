// llmkit/cache/postgres_connection.hpp: a connection of libpq's, waited for on Asio.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <asio/posix/stream_descriptor.hpp>

#include <llmkit/cache/postgres_address.hpp>
#include <llmkit/cache/postgres_values.hpp>
#include <llmkit/core/asio.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/detail/nudge.hpp>

namespace llmkit::detail {

/// Tells when a socket that libpq owns may be read or written. Lets go of it without closing it.
class postgres_socket : public std::enable_shared_from_this<postgres_socket> {
public:
    postgres_socket(const executor& where, int which, nudge& tell)
        : socket_(where, which), tell_(tell) {}
    postgres_socket(const postgres_socket&) = delete;
    postgres_socket& operator=(const postgres_socket&) = delete;
    ~postgres_socket() { socket_.release(); }

    /// Asks for a nudge once there is something to read; `take_readable` then says so.
    void want_read() { want(asio::posix::stream_descriptor::wait_read, reading_); }
    void want_write() { want(asio::posix::stream_descriptor::wait_write, writing_); }
    bool take_readable() { return reading_.take(); }
    bool take_writable() { return writing_.take(); }

private:
    struct side {
        bool wanted = false;
        bool ready = false;
        bool take() { return std::exchange(ready, false); }
    };
    void want(asio::posix::stream_descriptor::wait_type what, side& which) {
        if (std::exchange(which.wanted, true)) return;
        socket_.async_wait(what, [gone = weak_from_this(), &which](const std::error_code&) {
            const auto self = gone.lock();
            if (!self) return;
            which.wanted = false;
            which.ready = true;
            self->tell_();
        });
    }

    asio::posix::stream_descriptor socket_;
    nudge& tell_;
    side reading_, writing_;
};

/// A connection that is opened, used and closed by one coroutine on one thread.
///
/// After an error `lost` tells whether the connection itself is of no more use.
class postgres_connection {
public:
    postgres_connection(executor where, clock_handle time, nudge& tell)
        : where_(std::move(where)), time_(std::move(time)), tell_(tell) {}

    bool open() const { return held_ != nullptr; }
    bool lost() const { return lost_; }
    void close() {
        socket_.reset();
        held_.reset();
        lost_ = false;
    }

    /// Connects and logs in.
    task<result<void>> connect(const postgres_address& to, postgres_address::parameters with,
                               limit until) {
        close();
        to_ = &to;
        std::vector<const char*> names, values;
        for (const auto& [name, value] : with) {
            names.push_back(name.c_str());
            values.push_back(value.c_str());
        }
        names.insert(names.end(), {"fallback_application_name", nullptr});
        values.insert(values.end(), {"llmkit", nullptr});
        held_.reset(PQconnectStartParams(names.data(), values.data(), 0));
        if (!held_) throw std::bad_alloc();
        PQsetErrorVerbosity(held_.get(), PQERRORS_VERBOSE);  // which has the code of what is wrong
        PQsetNoticeReceiver(held_.get(), [](void*, const PGresult*) {}, nullptr);
        PostgresPollingStatusType next = PGRES_POLLING_WRITING;
        if (PQstatus(held_.get()) == CONNECTION_BAD) next = PGRES_POLLING_FAILED;
        while (next != PGRES_POLLING_OK) {
            if (next == PGRES_POLLING_FAILED) co_return not_connected();
            // Another attempt may have another socket, also one of the same number.
            watch();
            const bool in_time = co_await ready(next == PGRES_POLLING_WRITING, until);
            socket_.reset();
            if (!in_time) co_return silent("connecting");
            next = PQconnectPoll(held_.get());
        }
        if (PQsetnonblocking(held_.get(), 1) != 0) co_return not_connected();
        watch();
        co_return result<void>();
    }

    /// Carries out one or more statements without values, and gives the last one's rows, in text.
    task<result<postgres_rows>> run(std::string text, limit until) {
        if (PQsendQuery(held_.get(), text.c_str()) != 1) co_return gone();
        auto out = co_await all_results(until);
        co_return out;
    }
    /// One statement with a text for its only value.
    task<result<postgres_rows>> ask(const char* text, const std::string& value, limit until) {
        const char* const values[] = {value.c_str()};
        if (PQsendQueryParams(held_.get(), text, 1, nullptr, values, nullptr, nullptr, 0) != 1)
            co_return gone();
        auto out = co_await all_results(until);
        co_return out;
    }
    task<result<postgres_rows>> prepare(const char* name, std::string text, limit until) {
        if (PQsendPrepare(held_.get(), name, text.c_str(), 0, nullptr) != 1) co_return gone();
        auto out = co_await all_results(until);
        co_return out;
    }

    /// From here on only `send` and `next`.
    bool begin_pipeline() { return PQenterPipelineMode(held_.get()) == 1; }
    /// Puts a prepared statement on its way, a transaction of its own. False: lost.
    bool send(const char* name, const postgres_values& with) {
        if (PQsendQueryPrepared(held_.get(), name, with.count(), with.data(), with.sizes(),
                                with.formats(), 1) == 1 &&
            PQpipelineSync(held_.get()) == 1)
            return true;
        lost_ = true;
        return false;
    }
    /// What came of the oldest one; each silence may last `patience`.
    task<result<postgres_rows>> next(duration patience) {
        postgres_rows first;
        bool ended = false;
        for (;;) {
            const bool in_time = co_await result_ready(patience, limit());
            if (!in_time) co_return lost_ ? gone() : silent("answering");
            postgres_rows got(PQgetResult(held_.get()));
            if (!got) {  // the end of one statement's results
                if (std::exchange(ended, true)) co_return gone();
                continue;
            }
            if (PQresultStatus(got.get()) == PGRES_PIPELINE_SYNC) break;
            if (!first) first = std::move(got);
        }
        if (first && !first.fine()) co_return failed(first);
        co_return first;
    }

    /// Asks for a nudge should the server end the connection, or say anything else unasked.
    void watch_idle() {
        if (socket_) socket_->want_read();
    }
    /// Whether it has.
    bool still_good() {
        if (!held_ || lost_) return false;
        if (!socket_->take_readable()) return true;
        // A notice or a changed parameter is nothing to worry about.
        if (PQconsumeInput(held_.get()) != 1 || PQstatus(held_.get()) != CONNECTION_OK)
            lost_ = true;
        return !lost_;
    }

private:
    struct finish {
        void operator()(PGconn* one) const { PQfinish(one); }
    };

    void watch() {
        socket_.reset();
        if (const int which = PQsocket(held_.get()); which >= 0)
            socket_ = std::make_shared<postgres_socket>(where_, which, tell_);
    }
    /// False when the limit came first.
    task<bool> ready(bool for_writing, limit until) {
        bool there = false;
        while (!there && socket_) {
            for_writing ? socket_->want_write() : socket_->want_read();
            if (time_.now() >= until.effective()) co_return false;
            co_await tell_.wait(time_, until);
            there = for_writing ? socket_->take_writable() : socket_->take_readable();
        }
        co_return there;
    }
    /// Waits until `PQgetResult` has something to give at once. False: lost, or silent for too long.
    task<bool> result_ready(duration patience, limit until) {
        limit quiet = until.earliest(after(time_.now(), patience));
        for (;;) {
            const int unsent = PQflush(held_.get());
            if (unsent < 0) lost_ = true;
            if (lost_) co_return false;
            if (PQisBusy(held_.get()) == 0) co_return true;
            socket_->want_read();
            if (unsent > 0) socket_->want_write();
            if (time_.now() >= quiet.effective()) co_return false;
            co_await tell_.wait(time_, quiet);
            bool progress = socket_->take_writable();
            if (socket_->take_readable()) {
                progress = true;
                if (PQconsumeInput(held_.get()) != 1) lost_ = true;
            }
            if (progress) quiet = until.earliest(after(time_.now(), patience));
        }
    }
    task<result<postgres_rows>> all_results(limit until) {
        postgres_rows last;
        std::optional<error> why;
        for (;;) {
            const bool in_time = co_await result_ready(duration::max(), until);
            if (!in_time) co_return lost_ ? gone() : silent("answering");
            postgres_rows got(PQgetResult(held_.get()));
            if (!got) break;
            if (!got.fine() && !why) why = failed(got);
            last = std::move(got);
        }
        if (why) co_return *why;
        co_return last;
    }

    error silent(std::string_view at) {
        lost_ = true;
        return error(error_kind::timeout, fmt::format("{} is silent while {}", to_->name(), at))
            .with_advice("Check the database server and the network to it.");
    }
    error gone() {
        lost_ = true;
        return error(error_kind::connection_lost,
                     fmt::format("the connection to {} ended: {}", to_->name(),
                                 to_->in_a_line(PQerrorMessage(held_.get()))))
            .with_advice("It is made again by itself; look at the database server's log.");
    }
    error failed(const postgres_rows& what) {
        const std::string_view state = what.state();
        // The server is going down; or the table has changed under the prepared statements.
        for (const auto& doomed : {"57P", "08", "26", "42P01", "42703", "0A000"})
            if (state.starts_with(doomed)) lost_ = true;
        if (PQstatus(held_.get()) != CONNECTION_OK) return gone();
        const char* said = PQresultErrorField(what.get(), PG_DIAG_MESSAGE_PRIMARY);
        error_kind kind = error_kind::server;
        if (state == "57014") kind = error_kind::timeout;  // the statement's own limit
        if (state.starts_with("42") || state.starts_with("3F")) kind = error_kind::configuration;
        return error(kind,
                     fmt::format("{}: {}", to_->name(),
                                 to_->in_a_line(said ? said : PQresultErrorMessage(what.get()))))
            .with_code(std::string(state))
            .with_advice(kind == error_kind::configuration
                             ? "Check the table's name and what this user may do."
                             : "Look at the database server's log.");
    }
    error not_connected() {
        const std::string said = to_->in_a_line(PQerrorMessage(held_.get()));
        lost_ = true;
        // "FATAL:  28P01: password authentication failed"
        const auto level = said.find(":  ");
        const std::string state = level == std::string::npos ? "" : said.substr(level + 3, 5);
        const bool rejected = state.starts_with("28");
        return error(rejected ? error_kind::authentication : error_kind::connect,
                     fmt::format("no connection to {}: {}", to_->name(), said))
            .with_advice(rejected ? "Check user, password and pg_hba.conf."
                                  : "Check that PostgreSQL runs, its address, and the database.");
    }

    const executor where_;
    const clock_handle time_;
    nudge& tell_;
    const postgres_address* to_ = nullptr;
    std::unique_ptr<PGconn, finish> held_;
    std::shared_ptr<postgres_socket> socket_;
    bool lost_ = false;
};

}  // namespace llmkit::detail
