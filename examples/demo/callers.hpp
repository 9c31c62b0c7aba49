// Many callers who take call after call from one list, and what they experienced.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <time.h>
#include <unistd.h>

#include <fmt/format.h>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/wait.hpp>

#include "workload.hpp"

namespace demo {

namespace asio = llmkit::asio;
using llmkit::task;
using llmkit::time_point;

enum class ending : std::uint8_t {
    answered,
    failed,  ///< before anything of the answer had reached the caller
    cut,     ///< after that
};

/// How one call went, as its caller saw it.
struct call_outcome {
    ending how = ending::failed;
    bool hit = false;   ///< from a cache
    bool join = false;  ///< shared another caller's upstream call
    std::optional<time_point> first_event;
    std::string_view error;  ///< the name of its kind, which lives for ever
};

/// A program under test: makes one call, to its very end.
class contender {
public:
    virtual ~contender() = default;
    virtual task<call_outcome> call(std::string body) = 0;
    /// Whether its callers read answers as they are written.
    virtual bool streams() const = 0;
};

/// Numbers of one kind, kept whole so that every figure is exact.
class samples {
public:
    void add(double value) { values_.push_back(value); }
    double mean() const {
        double sum = 0;
        for (const double value : values_) sum += value;
        return values_.empty() ? 0 : sum / static_cast<double>(values_.size());
    }
    double quantile(double share) const {
        if (values_.empty()) return 0;
        auto sorted = values_;
        const double rank = std::ceil(share * static_cast<double>(sorted.size()));
        const auto at = std::max<std::ptrdiff_t>(0, static_cast<std::ptrdiff_t>(rank) - 1);
        std::nth_element(sorted.begin(), sorted.begin() + at, sorted.end());
        return sorted[static_cast<std::size_t>(at)];
    }

private:
    std::vector<double> values_;
};

/// What a stage measured. Times in seconds of the workload, that is: unscaled.
struct figures {
    std::string name;
    std::size_t callers = 0, calls = 0, answered = 0, failed = 0, cut = 0, hits = 0, joins = 0;
    std::size_t in_flight_max = 0;  ///< calls that a caller waits for
    std::size_t upstream_max = 0;   ///< requests that the provider answers
    std::size_t upstream = 0;       ///< requests that the provider got
    std::size_t connections = 0;    ///< that it accepted
    std::size_t pool = 0;           ///< how many there might be at once
    samples latency;                ///< of answered calls, to their end
    samples first_event;            ///< of calls that got anything
    double throughput = 0;          ///< calls a second while all callers had one to make
    double took = 0;                ///< from the first call's start to the last one's end
    double cost = 0;                ///< dollars billed by the provider
    double took_real = 0;
    double client_cpu = 0;  ///< share of one core, 0…1
    double server_cpu = 0;
    double late_p99 = 0;  ///< how late the client's own timers came
    std::map<std::string, std::size_t, std::less<>> errors;

    double share(std::size_t part) const {
        return calls == 0 ? 0 : static_cast<double>(part) / static_cast<double>(calls);
    }
    double hit_rate() const { return share(hits + joins); }
    double error_rate() const { return share(failed); }
    double cost_per_thousand() const {
        return calls == 0 ? 0 : 1000 * cost / static_cast<double>(calls);
    }
};

inline double cpu_seconds(clockid_t of) {
    timespec spent{};
    clock_gettime(of, &spent);
    return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) * 1e-9;
}

/// Callers begin one after another within so many seconds of the workload's time: a thousand
/// programs that all start in the same microsecond would measure how fast this machine connects.
inline constexpr double ramp_seconds = 2;

/// One stage under way. Everything here runs on one thread.
class stage {
public:
    /// `bodies` are the calls, in the order in which callers take them.
    stage(const workload& how, std::vector<std::string> bodies, std::shared_ptr<contender> who,
          std::string name, std::size_t callers)
        : how_(how), bodies_(std::move(bodies)), who_(std::move(who)) {
        seen_.name = std::move(name);
        seen_.callers = callers;
        seen_.calls = bodies_.size();
    }

    figures run(asio::io_context& context) {
        llmkit::clock_handle time(context.get_executor());
        const double process = cpu_seconds(CLOCK_PROCESS_CPUTIME_ID);
        const double thread = cpu_seconds(CLOCK_THREAD_CPUTIME_ID);
        began_ = time.now();
        for (std::size_t i = 0; i < seen_.callers; ++i) {
            const auto start = began_ + scaled(ramp_seconds * static_cast<double>(i) /
                                               static_cast<double>(seen_.callers));
            asio::co_spawn(context, caller(this, time, start),
                           [this, &context](std::exception_ptr failed) {
                               if (failed && !failed_) failed_ = failed;
                               if (++gone_ == seen_.callers || failed_) context.stop();
                           });
        }
        asio::co_spawn(context, report(this, time), [](std::exception_ptr) {});
        asio::co_spawn(context, probe(this, time), [](std::exception_ptr) {});
        context.run();
        if (failed_) std::rethrow_exception(failed_);

        seen_.took_real = seconds(time.now() - began_);
        const double mine = cpu_seconds(CLOCK_THREAD_CPUTIME_ID) - thread;
        const double all = cpu_seconds(CLOCK_PROCESS_CPUTIME_ID) - process;
        seen_.client_cpu = mine / seen_.took_real;
        seen_.server_cpu = (all - mine) / seen_.took_real;
        seen_.took = unscaled(time.now() - began_);
        seen_.throughput =
            static_cast<double>(ended_by_last_start_) / unscaled(last_start_ - began_);
        seen_.late_p99 = late_.quantile(0.99);
        return seen_;
    }

private:
    static double seconds(llmkit::duration span) {
        return std::chrono::duration<double>(span).count();
    }
    llmkit::duration scaled(double span) const {
        return std::chrono::duration_cast<llmkit::duration>(
            std::chrono::duration<double>(span * how_.time_scale));
    }
    double unscaled(llmkit::duration span) const { return seconds(span) / how_.time_scale; }

    static task<void> caller(stage* self, llmkit::clock_handle time, time_point start) {
        llmkit::limit at;
        at.until = start;
        co_await llmkit::sleep_until(time, at);
        while (self->next_ < self->bodies_.size()) {
            std::string body = std::move(self->bodies_[self->next_++]);
            const time_point began = time.now();
            if (self->next_ == self->bodies_.size()) {
                self->last_start_ = began;
                self->ended_by_last_start_ = self->ended_;
            }
            ++self->in_flight_;
            self->seen_.in_flight_max = std::max(self->seen_.in_flight_max, self->in_flight_);
            const call_outcome outcome = co_await self->who_->call(std::move(body));
            --self->in_flight_;
            ++self->ended_;
            self->count(outcome, began, time.now());
        }
    }

    void count(const call_outcome& outcome, time_point began, time_point ended) {
        seen_.hits += outcome.hit ? 1U : 0U;
        seen_.joins += outcome.join ? 1U : 0U;
        if (outcome.first_event) seen_.first_event.add(unscaled(*outcome.first_event - began));
        switch (outcome.how) {
            case ending::answered:
                ++seen_.answered;
                seen_.latency.add(unscaled(ended - began));
                return;
            case ending::failed:
                ++seen_.failed;
                break;
            case ending::cut:
                ++seen_.cut;
                break;
        }
        ++seen_.errors[std::string(outcome.error)];
    }

    /// A line on stderr: every half second on a terminal, every five seconds elsewhere.
    static task<void> report(stage* self, llmkit::clock_handle time) {
        const bool terminal = isatty(STDERR_FILENO) != 0;
        for (;;) {
            co_await llmkit::sleep_for(time, std::chrono::milliseconds(terminal ? 500 : 5000));
            fmt::print(stderr, "{}{:<16} {:>6} of {} calls, {} callers waiting, {:.0f} s{}",
                       terminal ? "\r" : "", self->seen_.name, self->ended_, self->bodies_.size(),
                       self->in_flight_, seconds(time.now() - self->began_), terminal ? " " : "\n");
            std::fflush(stderr);
        }
    }
    /// How late things come that should come at a certain time.
    static task<void> probe(stage* self, llmkit::clock_handle time) {
        for (;;) {
            const time_point due = time.now() + std::chrono::milliseconds(5);
            co_await llmkit::sleep_for(time, std::chrono::milliseconds(5));
            self->late_.add(self->unscaled(time.now() - due));
        }
    }

    const workload& how_;
    std::vector<std::string> bodies_;
    std::shared_ptr<contender> who_;
    figures seen_;
    samples late_;
    std::size_t next_ = 0, ended_ = 0, ended_by_last_start_ = 0, in_flight_ = 0, gone_ = 0;
    time_point began_, last_start_;
    std::exception_ptr failed_;
};

}  // namespace demo
