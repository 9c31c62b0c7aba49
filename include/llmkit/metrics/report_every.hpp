// llmkit/metrics/report_every.hpp: the figures again and again, until nobody wants them.
#pragma once

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <utility>

#include <llmkit/core/child.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/metrics/registry.hpp>

namespace llmkit {

/// Receives the figures so far. Runs on the clock's context; one that throws ends the reports.
using report_sink = std::function<void(const metrics_snapshot&)>;

/// Keeps a periodic report going; letting go of it stops it without waiting. A report that is just
/// being written on another thread is finished.
class periodic_report {
public:
    periodic_report(const clock_handle& time, metrics figures, duration period, report_sink sink)
        : running_(time, run(time, std::move(figures), checked(period), std::move(sink))) {}

private:
    static duration checked(duration period) {
        if (period > duration::zero()) return period;
        throw std::invalid_argument("report_every: the period must be longer than nothing");
    }
    static task<void> run(clock_handle time, metrics figures, duration period, report_sink sink) {
        limit next;
        next.until = time.now();
        for (;;) {
            next.until = std::max(after(next.until, period), time.now());
            if (co_await sleep_until(time, next) == woke::by_close) co_return;
            sink(figures.snapshot(time.now()));
        }
    }

    child<void> running_;
};

/// Hands the figures to `sink` every `period`, first after one period, as long as the handle lives.
///
///     auto reporting = llmkit::report_every(figures, client.clock(), 10s,
///         [](const llmkit::metrics_snapshot& now) { fmt::print("{}\n", llmkit::to_line(now)); });
///
/// A sink slower than the period skips reports. In a simulation let go of it before `world.run()`,
/// which otherwise never finds an end. Throws `std::invalid_argument` for a period that is not
/// positive.
[[nodiscard]] inline periodic_report report_every(metrics figures, const clock_handle& time,
                                                  duration period, report_sink sink) {
    return periodic_report(time, std::move(figures), period, std::move(sink));
}
[[nodiscard]] inline periodic_report report_every(metrics figures, const executor& where,
                                                  duration period, report_sink sink) {
    return periodic_report(clock_handle(where), std::move(figures), period, std::move(sink));
}

}  // namespace llmkit
