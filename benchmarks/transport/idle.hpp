// What an idle connection costs in memory, and a limit in time.
#pragma once

#include <malloc.h>

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include <llmkit/core/wait.hpp>
#include <llmkit/transport/hold.hpp>
#include <llmkit/transport/http.hpp>

#include "measure.hpp"
#include "message.hpp"

namespace bench {

inline double allocated_kib() {
    const auto now = ::mallinfo2();
    return static_cast<double>(now.uordblks + now.hblkhd) / 1024;
}

/// KiB of heap for each of `count` idle connections; nothing when they could not be made.
inline std::optional<double> kib_per_idle(const llmkit::encryption& secure, const std::string& base,
                                          std::size_t count) {
    using namespace llmkit;
    asio::io_context io(1);
    one_thread(io);
    std::string why;
    const url target = url::parse(base + "/v1/chat/completions", why).value();
    const auto client =
        http(io.get_executor(),
             http_options().tls(secure).policy(
                 {.max_connections = count, .max_per_host = count, .max_idle = count}));
    const auto call = [](http_transport by, url to) -> task<void> {
        headers fields;
        auto answer = co_await by.send(
            http_request("POST", to, std::move(fields), bytes::literal(request_body())));
        if (answer) co_await answer->read_all();
    };
    const auto all = [&](std::size_t calls) {
        for (std::size_t i = 0; i < calls; ++i)
            asio::co_spawn(io, call(client, target), [](std::exception_ptr) {});
        io.restart();
        io.run();
    };
    all(1);
    const std::size_t first = client.connections().idle;
    const double before = allocated_kib();
    all(count);
    const double after = allocated_kib();
    const std::size_t more = client.connections().idle - first;
    if (more + 1 < count) return std::nullopt;
    return (after - before) / static_cast<double>(more);
}

/// Nanoseconds to arm a call's limit and drop it, beside 1000 that are outstanding.
inline double deadline_ns() {
    using namespace llmkit;
    asio::io_context io(1);
    const clock_handle time(io.get_executor());
    using cutoff_type = cutoff<detail::cut_call>;
    const auto until = [&](int i) {
        limit at;
        at.until = time.now() + std::chrono::seconds(30) + std::chrono::milliseconds(i);
        return at;
    };
    std::deque<cutoff_type> outstanding;
    const detail::cut_call nobody{{}, detail::cut_why::total, 0};
    for (int i = 0; i < 1000; ++i) outstanding.emplace_back(time, until(i), nobody);
    std::vector<double> each;
    for (int round = 0; round < 25; ++round) {
        constexpr int count = 20'000;
        const double start = cpu_seconds();
        for (int i = 0; i < count; ++i) cutoff_type(time, until(i % 1000), nobody);
        each.push_back((cpu_seconds() - start) * 1e9 / count);
    }
    return median(each);
}

}  // namespace bench
