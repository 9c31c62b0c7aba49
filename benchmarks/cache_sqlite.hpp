// What does a hit in a file cost: the statement alone, and as a call with the way to a thread and back?
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <llmkit/cache/sqlite.hpp>

namespace bench {

struct sqlite_times {
    double statement = 0;  ///< microseconds
    double with_hop = 0;
};

inline llmkit::task<void> find_all(llmkit::sqlite_cache in, std::vector<llmkit::key128> asked,
                                   std::size_t* found) {
    const llmkit::time_point now = std::chrono::steady_clock::now();
    for (const auto& key : asked) {
        auto hit = co_await in.find(key, now, llmkit::limit());
        if (hit && *hit) ++*found;
    }
}

/// 10,000 entries of 2 KB, asked for in any order; medians of the rounds.
inline sqlite_times time_sqlite(int rounds) {
    using namespace llmkit;
    constexpr std::uint64_t entries = 10'000;
    constexpr std::size_t lookups = 10'000;
    std::string folder = (std::filesystem::temp_directory_path() / "llmkit-XXXXXX").string();
    if (!::mkdtemp(folder.data())) return {};
    const std::string path = folder + "/answers.db";
    asio::io_context io(1);
    one_thread(io);
    const auto run = [&](task<void> what) {
        asio::co_spawn(io, std::move(what), [](std::exception_ptr failed) {
            if (failed) std::rethrow_exception(failed);
        });
        io.restart();
        io.run();
    };
    const auto median = [](std::vector<double> values) {
        std::sort(values.begin(), values.end());
        return values[values.size() / 2];
    };
    std::mt19937_64 random(1);
    std::vector<key128> asked;
    for (std::size_t i = 0; i < lookups; ++i)
        asked.push_back(key_builder().add(random() % entries).finish());
    sqlite_times times;
    {
        const sqlite_cache cache(path, {.max_pending_bytes = std::size_t{1} << 30});
        const auto fill = [](sqlite_cache into) -> task<void> {
            const time_point now = std::chrono::steady_clock::now();
            for (std::uint64_t n = 0; n < entries; ++n) {
                auto one = std::make_shared<cache_entry>();
                one->events.emplace_back(bytes(std::string(2000, 'x')));
                one->fresh_until = one->keep_until = time_point::max();
                const key128 key = key_builder().add(n).finish();
                if (auto put = co_await into.put(key, one, now, limit()); !put) std::abort();
            }
            if (auto done = co_await into.flush(limit()); !done) std::abort();
        };
        run(fill(cache));

        detail::sqlite_reader reader;
        if (reader.open(path, detail::sqlite_access::write) != SQLITE_OK) std::abort();
        std::vector<double> alone;
        std::vector<double> hop;
        for (int round = 0; round < rounds; ++round) {
            std::size_t found = 0;
            const auto began = std::chrono::steady_clock::now();
            for (const key128& key : asked) {
                detail::sqlite_row row;
                if (reader.find(key, row) == SQLITE_ROW && row.entry.size() > 2000) ++found;
            }
            const auto between = std::chrono::steady_clock::now();
            run(find_all(cache, asked, &found));
            const auto ended = std::chrono::steady_clock::now();
            if (found != 2 * lookups) std::abort();
            using microseconds = std::chrono::duration<double, std::micro>;
            alone.push_back(microseconds(between - began).count() / lookups);
            hop.push_back(microseconds(ended - between).count() / lookups);
        }
        times = {median(alone), median(hop)};
    }
    std::filesystem::remove_all(folder);
    return times;
}

}  // namespace bench
