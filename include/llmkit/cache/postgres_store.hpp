// llmkit/cache/postgres_store.hpp: the thread that speaks with PostgreSQL for all who ask.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/cache/codec.hpp>
#include <llmkit/cache/postgres_address.hpp>
#include <llmkit/cache/postgres_connection.hpp>
#include <llmkit/cache/postgres_deeds.hpp>
#include <llmkit/cache/postgres_desk.hpp>
#include <llmkit/cache/postgres_job.hpp>
#include <llmkit/cache/postgres_policy.hpp>
#include <llmkit/cache/postgres_seat.hpp>
#include <llmkit/cache/postgres_session.hpp>
#include <llmkit/cache/postgres_table.hpp>
#include <llmkit/detail/backoff_rule.hpp>
#include <llmkit/detail/nudge.hpp>
#include <llmkit/detail/quiet_thread.hpp>
#include <llmkit/transport/resolver.hpp>

namespace llmkit::detail {

/// What all handles of one cache share: a queue of jobs, and a thread of its own whose coroutines,
/// one a connection, carry them out. The thread holds the store, so that a server that hangs holds
/// up nobody.
class postgres_store : public postgres_desk, public std::enable_shared_from_this<postgres_store> {
public:
    postgres_store(const std::string& url, postgres_policy policy, entry_codec codec,
                   std::string table)
        : postgres_desk(policy),
          policy_(policy),
          deeds_(policy, std::move(codec)),
          table_(std::move(table)) {
        auto read = postgres_address::parse(url);
        if (read) {
            address_ = std::move(*read);
        } else {
            problem_ = read.error();
        }
    }

    /// Starts the thread, which connects at once.
    void start() {
        if (problem_) return;
        one_thread(context_);
        time_.emplace(context_.get_executor());
        names_ = std::make_shared<resolver>(socket_registry_service::of(time_->base()), *time_,
                                            http_policy{});
        random_.seed(static_cast<std::minstd_rand::result_type>(time_->seed()));
        for (std::size_t i = 0; i < std::max<std::size_t>(policy_.connections, 1); ++i)
            seats_.emplace_back(i == 0, context_.get_executor(), *time_);
        for (seat& each : seats_)
            asio::co_spawn(context_, occupy(each), [this](const std::exception_ptr& failed) {
                if (failed) seat_broken();
            });
        const std::lock_guard lock(mutex_);
        running_ = start_quiet_thread([self = shared_from_this()] {
            self->context_.run();
            for (seat& each : self->seats_) each.line.close();
            const std::lock_guard ended(self->mutex_);
            self->running_ = false;
            self->ended_.notify_all();
        });
        if (!running_) problem_ = error(error_kind::internal, "no thread could be started");
    }
    /// Ends the thread once all that waits is done; waits for that, but not longer than `at_most`.
    void stop(duration at_most) {
        close();
        std::unique_lock lock(mutex_);
        if (!ended_.wait_for(lock, at_most, [&] { return !running_; })) context_.stop();
    }
    void close() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        for (seat& each : seats_) each.tell();
    }

    duration close_limit() const { return policy_.close_limit; }

    /// Leaves a job to whoever is connected; ends it at once when that is nobody.
    void ask(const job_ptr& job) {
        seat* whom = nullptr;
        {
            const std::lock_guard lock(mutex_);
            if (auto why = refusal(*job)) {
                ++(job->deed == postgres_deed::put ? counts_.dropped : counts_.refused);
                job->failed = std::move(why);
                job->done = true;
                return;
            }
            queue_.add(job);
            whom = somebody();
        }
        if (whom) whom->tell();
    }

private:
    using seat = postgres_seat;

    /// Who is to look at the queue. Under the mutex.
    seat* somebody() {
        for (seat& each : seats_)
            if (std::exchange(each.idle, false)) return &each;
        if (!connected()) return nullptr;
        for (seat& each : seats_)
            if (std::exchange(each.dormant, false)) return &each;
        return nullptr;
    }

    // The rest: on the thread.
    task<void> occupy(seat& mine) {
        for (;;) {
            const bool go_on = co_await wanted(mine);
            if (!go_on) break;
            limit until;
            until.until = after(time_->now(), policy_.connect);
            auto opened =
                co_await open_session(mine.line, address_, names_, table_, policy_.answer, until);
            note(mine, opened);
            if (!opened) continue;
            auto why = co_await serve(mine);
            leave(mine, why);
        }
        mine.line.close();
        if (mine.lead) fail_all(error(error_kind::closed, "the cache in PostgreSQL is closed"));
    }

    /// Waits until a connection is to be made. False: none any more.
    task<bool> wanted(seat& mine) {
        for (;;) {
            limit until;
            until.until = mine.not_before;
            {
                const std::lock_guard lock(mutex_);
                if (stopping_) co_return false;
                const bool needed = mine.lead || (connected() && queue_.size() > 0);
                const bool early = time_->now() < mine.not_before;
                if (needed && !early) {
                    mine.dormant = false;
                    co_return true;
                }
                mine.dormant = !mine.lead && !early;
                if (!mine.lead && !early) until = limit();
            }
            co_await mine.tell.wait(*time_, until);
        }
    }

    /// What became of an attempt.
    void note(seat& mine, const result<void>& opened) {
        std::vector<job_ptr> failed;
        if (!opened) mine.line.close();
        {
            const std::lock_guard lock(mutex_);
            if (opened) {
                ++counts_.opened;
                ++open_;
                mine.opened = time_->now();
                failures_ = 0;
                problem_.reset();
                return;
            }
            ++counts_.not_opened;
            // Whoever ends all connections ends this one too: calls wait for two attempts more.
            const bool ended = opened.error().kind() == error_kind::connection_lost;
            const bool hopeful = ended && !problem_ && failures_ < 2;
            mine.not_before = after(time_->now(), mine.lead ? pause() : policy_.max_retry);
            if (connected() || hopeful) return;
            if (mine.lead || !problem_) problem_ = opened.error();
            failed = queue_.take_all();
        }
        finish(failed, opened.error());
    }
    /// A server that ended the connection is asked for another at once, and calls wait for that
    /// meanwhile; one that fell silent is taken for down.
    void leave(seat& mine, const std::optional<error>& why) {
        mine.line.close();
        std::vector<job_ptr> failed;
        seat* whom = nullptr;
        {
            const std::lock_guard lock(mutex_);
            --open_;
            mine.idle = false;
            if (!why) return;
            // What was left to this one just now, or put back.
            if (queue_.size() > 0) whom = somebody();
            ++counts_.lost;
            const bool silent = why->kind() == error_kind::timeout;
            mine.not_before = silent ? after(time_->now(), pause())
                                     : after(mine.opened, policy_.retry);  // not many in a row
            if (silent && !connected()) {
                problem_ = *why;
                failed = queue_.take_all();
            }
        }
        if (whom) whom->tell();
        finish(failed, *why);
    }
    /// Grows with each failure, and differs from machine to machine. Under the mutex.
    duration pause() {
        const backoff_rule rule{.first = std::max<duration>(policy_.retry, timer_tick),
                                .longest = policy_.max_retry};
        return rule.after(failures_++, {}, time_->now(), time_point::max(), random_).pause;
    }

    /// Carries out what comes, until nobody needs the connection any more or it ends: then why.
    task<std::optional<error>> serve(seat& mine) {
        time_point last_use = time_->now();
        time_point sweep_at = time_->now();
        for (;;) {
            if (mine.lead && time_->now() >= sweep_at) {
                sweep_at = after(time_->now(), policy_.sweep);
                add_sweep();
            }
            std::vector<job_ptr> left;
            std::vector<job_ptr> batch;
            bool ending = false;
            {
                const std::lock_guard lock(mutex_);
                batch =
                    queue_.take(seats_.size(), std::max<std::size_t>(policy_.pipeline, 1), left);
                mine.idle = batch.empty();
                ending = stopping_ && batch.empty();
            }
            left.clear();
            if (ending) co_return std::nullopt;
            if (!mine.line.still_good()) {
                auto why = error(error_kind::connection_lost, "PostgreSQL closed the connection");
                put_back(batch, 0, false, why);
                co_return why;
            }
            if (!batch.empty()) {
                auto why = co_await carry_out(mine, batch);
                if (why) co_return why;
                last_use = time_->now();
                continue;
            }
            limit until;
            until.until = mine.lead ? sweep_at : after(last_use, policy_.idle);
            if (!mine.lead && time_->now() >= until.until) co_return std::nullopt;
            mine.line.watch_idle();
            co_await mine.tell.wait(*time_, until);
        }
    }

    /// All of them at once, in a pipeline. Gives why the connection is of no more use, if so.
    task<std::optional<error>> carry_out(seat& mine, std::vector<job_ptr>& batch) {
        std::vector<job_ptr> sent;
        for (const job_ptr& job : batch) {
            if (deeds_.send(mine.line, *job)) {
                sent.push_back(job);
            } else if (!mine.line.lost()) {
                finish(job);  // not to be written
                const std::lock_guard lock(mutex_);
                ++counts_.dropped;
            }
            if (mine.line.lost()) {
                auto why = error(error_kind::connection_lost, "PostgreSQL closed the connection");
                put_back(batch, 0, true, why);
                co_return why;
            }
        }
        for (std::size_t i = 0; i < sent.size(); ++i) {
            auto rows = co_await mine.line.next(policy_.answer);
            if (mine.line.lost()) {
                auto why = rows ? error(error_kind::connection_lost, "the connection ended")
                                : rows.error();
                put_back(sent, i, true, why);
                co_return why;
            }
            read(*sent[i], rows);
            finish(sent[i]);
        }
        co_return std::nullopt;
    }
    /// What was under way when the server ended the connection is asked on another, where that may be
    /// done twice; all of them may have ended at once. What it was silent about is not.
    void put_back(const std::vector<job_ptr>& jobs, std::size_t from, bool sent, const error& why) {
        std::vector<job_ptr> failed;
        {
            const std::lock_guard lock(mutex_);
            for (std::size_t i = jobs.size(); i-- > from;) {
                if (jobs[i]->done) continue;
                const bool again = why.kind() != error_kind::timeout && !stopping_ &&
                                   (jobs[i]->repeatable() || !sent);
                if (again && jobs[i]->tries++ <= seats_.size()) {
                    queue_.put_back(jobs[i]);
                } else {
                    failed.push_back(jobs[i]);
                }
            }
        }
        finish(failed, why);
    }

    /// Between calls, by whoever is free.
    void add_sweep() {
        for (const auto deed : {postgres_deed::expire, postgres_deed::evict})
            if (deed == postgres_deed::expire || policy_.max_bytes > 0)
                add_work(deed, key128(), time_->now());
    }
    void read(postgres_job& job, const result<postgres_rows>& rows) {
        postgres_after next;
        {
            const std::lock_guard lock(mutex_);
            next = deeds_.read(job, rows, counts_);
        }
        if (next == postgres_after::touch) add_work(postgres_deed::touch, job.key, time_->now());
        if (next == postgres_after::again) add_work(job.deed, job.key, time_->now());
    }

    /// A coroutine ran out of memory: nobody may wait for it in vain.
    void seat_broken() {
        const error why(error_kind::internal, "no memory to speak with PostgreSQL");
        {
            const std::lock_guard lock(mutex_);
            problem_ = why;
        }
        close();
        fail_all(why);
    }

    const postgres_policy policy_;
    const postgres_deeds deeds_;
    const postgres_table table_;
    postgres_address address_;
    std::optional<clock_handle> time_;
    std::shared_ptr<resolver> names_;

    std::deque<seat> seats_;
    std::uint64_t failures_ = 0;
    std::minstd_rand random_;
    std::condition_variable ended_;
    bool running_ = false;
    asio::io_context context_{1};  // goes first, and its coroutines with it
};

}  // namespace llmkit::detail
