// Is libmemcached the better way to a memcached than its protocol over our own connections?
//
// Look-ups of 2 KB items on one loopback connection, one at a time and 64 in flight: libmemcached's
// memcached_get and memcached_mget, our pipelined connection, and a whole memcached_cache::find with
// its decoding. Each is given as time and as the CPU that this process uses for it; they are measured
// in turn, and the least of the rounds counts. libmemcached blocks its caller and is for one thread
// at a time; ours is asked by coroutines.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <llmkit/cache/memcached.hpp>
#include <llmkit/core/run.hpp>

#include "integration/memcached.hpp"

#ifdef BENCH_LIBMEMCACHED
#include <libmemcached/memcached.h>
#endif

using namespace llmkit;

namespace {

constexpr int rounds = 7;
constexpr std::uint64_t keys = 256;
constexpr int gets = 19'200;
constexpr int in_flight = 64;

key128 key(std::uint64_t n) { return key_builder().add(n).finish(); }
std::string name_of(std::uint64_t n) { return "llmkit:1:" + to_hex(key(n)); }
limit soon() {
    limit until;
    until.until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    return until;
}

struct cost {
    double time_us = 1e9;
    double cpu_us = 1e9;
};

template <class Work>
void measure(cost& least, const Work& work) {
    const auto cpu = [] {
        timespec now{};
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
    };
    const auto begun = std::chrono::steady_clock::now();
    const double cpu_before = cpu();
    work();
    const double used = cpu() - cpu_before;
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begun;
    least.time_us = std::min(least.time_us, took.count() / gets);
    least.cpu_us = std::min(least.cpu_us, used / gets);
}

/// `width` coroutines look up by turns until all is done.
template <class Look>
void ask_all(asio::io_context& context, int width, const Look& look) {
    for (int i = 0; i < width; ++i)
        asio::co_spawn(
            context,
            [](const Look& one, int from, int step) -> task<void> {
                for (int n = from; n < gets; n += step)
                    co_await one(static_cast<std::uint64_t>(n) % keys);
            }(look, i, width),
            [](const std::exception_ptr& failed) {
                if (failed) std::rethrow_exception(failed);
            });
    context.restart();
    context.run();
}

void check(bool fine) {
    if (fine) return;
    std::fprintf(stderr, "a look-up failed\n");
    std::exit(1);
}

#ifdef BENCH_LIBMEMCACHED
/// One connection of libmemcached's.
class library {
public:
    explicit library(unsigned short port) : held_(memcached_create(nullptr), memcached_free) {
        memcached_server_add(held_.get(), "127.0.0.1", port);
        memcached_behavior_set(held_.get(), MEMCACHED_BEHAVIOR_TCP_NODELAY, 1);
        for (std::uint64_t n = 0; n < keys; ++n) names_.push_back(name_of(n));
    }
    void one_at_a_time() {
        for (int n = 0; n < gets; ++n) {
            const std::string& name = names_[static_cast<std::size_t>(n) % keys];
            std::size_t size = 0;
            std::uint32_t flags = 0;
            memcached_return_t how = MEMCACHED_SUCCESS;
            char* const got =
                memcached_get(held_.get(), name.data(), name.size(), &size, &flags, &how);
            check(got && size > 2000);
            std::free(got);
        }
    }
    void many() {
        const char* names[in_flight];
        std::size_t sizes[in_flight];
        for (int n = 0; n < gets; n += in_flight) {
            for (int i = 0; i < in_flight; ++i) {
                names[i] = names_[static_cast<std::size_t>(n + i) % keys].data();
                sizes[i] = names_[static_cast<std::size_t>(n + i) % keys].size();
            }
            check(memcached_mget(held_.get(), names, sizes, in_flight) == MEMCACHED_SUCCESS);
            int found = 0;
            memcached_return_t how = MEMCACHED_SUCCESS;
            memcached_result_st room;
            memcached_result_create(held_.get(), &room);
            while (memcached_fetch_result(held_.get(), &room, &how))
                found += memcached_result_length(&room) > 2000;
            memcached_result_free(&room);
            check(found == in_flight);
        }
    }

private:
    std::unique_ptr<memcached_st, void (*)(memcached_st*)> held_;
    std::vector<std::string> names_;
};
#endif

void show(const char* what, const cost& one, const cost& many) {
    std::printf("%-34s %9.2f %9.2f %12.2f %9.2f\n", what, one.time_us, one.cpu_us, many.time_us,
                many.cpu_us);
}

}  // namespace

int main() {
    const llmkit_test::temporary_folder folder;
    const llmkit_test::memcached_server server(folder);
    asio::io_context context(1);
    one_thread(context);
    const memcached_cache store(server.name());
    const detail::memcached_servers links(server.name(), memcached_options());
    asio::co_spawn(
        context,
        [](memcached_cache into) -> task<void> {
            const auto at = std::chrono::steady_clock::now();
            for (std::uint64_t n = 0; n < keys; ++n) {
                auto made = std::make_shared<cache_entry>();
                made->operation = "chat/completions";
                made->events.emplace_back(bytes(std::string(2000, 'x')), event_facts());
                made->stored_at = at;
                made->fresh_until = made->keep_until = at + std::chrono::hours(1);
                auto put = co_await into.put(key(n), std::move(made), at, soon());
                check(static_cast<bool>(put));
            }
        }(store),
        [](const std::exception_ptr& failed) {
            if (failed) std::rethrow_exception(failed);
        });
    context.run();

    const auto raw = [&](std::uint64_t n) -> task<void> {
        auto got = co_await links.ask(key(n), detail::memcached_get(name_of(n)), soon());
        check(got && got->text.size() > 2000);
    };
    const auto whole = [&](std::uint64_t n) -> task<void> {
        const auto at = std::chrono::steady_clock::now();
        auto got = co_await store.find(key(n), at, soon());
        check(got && *got);
    };
    cost raw_one, raw_many, whole_one, whole_many;
#ifdef BENCH_LIBMEMCACHED
    cost library_one, library_many;
    library peer(server.port);
#endif
    for (int round = 0; round < rounds; ++round) {
#ifdef BENCH_LIBMEMCACHED
        measure(library_one, [&] { peer.one_at_a_time(); });
        measure(library_many, [&] { peer.many(); });
#endif
        measure(raw_one, [&] { ask_all(context, 1, raw); });
        measure(raw_many, [&] { ask_all(context, in_flight, raw); });
        measure(whole_one, [&] { ask_all(context, 1, whole); });
        measure(whole_many, [&] { ask_all(context, in_flight, whole); });
    }

    std::printf("a look-up of 2 KB, in us:             one at a time           64 in flight\n");
    std::printf("%-34s %9s %9s %12s %9s\n", "", "time", "CPU", "time", "CPU");
#ifdef BENCH_LIBMEMCACHED
    show("libmemcached", library_one, library_many);
#else
    std::printf("libmemcached is left out (Debian: apt-get install libmemcached-dev)\n");
#endif
    show("our connection", raw_one, raw_many);
    show("memcached_cache::find", whole_one, whole_many);
#ifdef BENCH_LIBMEMCACHED
    std::printf("result memcached.get_vs_libmemcached %.2f ratio\n",
                raw_one.time_us / library_one.time_us);
    std::printf("result memcached.get64_vs_libmemcached %.2f ratio\n",
                raw_many.time_us / library_many.time_us);
#endif
    std::printf("result memcached.find64_us %.2f us\n", whole_many.time_us);
}
