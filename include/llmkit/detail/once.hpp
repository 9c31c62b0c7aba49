// llmkit/detail/once.hpp: something that is made when it is first asked for.
#pragma once

#include <atomic>
#include <mutex>

namespace llmkit::detail {

/// Runs a maker once, for whichever thread comes first; the others wait for it. Unlike
/// `std::call_once` without a system call, and a maker that throws leaves it to the next.
class once {
public:
    bool made() const { return made_.load(std::memory_order_acquire); }

    template <class Maker>
    void run(const Maker& make) {
        if (made()) return;
        const std::lock_guard lock(mutex_);
        if (made_.load(std::memory_order_relaxed)) return;
        make();
        made_.store(true, std::memory_order_release);
    }

private:
    std::atomic<bool> made_{false};
    std::mutex mutex_;
};

}  // namespace llmkit::detail
