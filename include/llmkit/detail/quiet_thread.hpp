// llmkit/detail/quiet_thread.hpp: a thread for what blocks, that nobody waits for.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <system_error>
#include <thread>
#include <utility>

namespace llmkit::detail {

/// Starts a detached thread that takes no signals: those are the program's. False when there is
/// none to be had.
template <class F>
bool start_quiet_thread(F work) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = true;
    try {
        std::thread(std::move(work)).detach();
    } catch (const std::system_error&) {
        started = false;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return started;
}

}  // namespace llmkit::detail
