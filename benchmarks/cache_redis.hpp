// What does a GET cost that goes to a Redis on the other core, of 2 KB, pipelined by hand and by us?
#pragma once

#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <llmkit/cache/redis.hpp>

#include "integration/redis.hpp"

#ifdef BENCH_HIREDIS
#include <hiredis/hiredis.h>
#include <hiredis/read.h>
#endif

namespace bench {

struct redis_times {
    double by_hand = 0;  ///< microseconds a GET; the median of the rounds
    double ours = 0;
    double ratio = 0;  ///< the median of the rounds' ratios
    double find = 0;   ///< a whole look-up of the cache, with the entry made of what came
};

constexpr std::size_t redis_gets = 20'000;  // a round
constexpr std::size_t redis_keys = 1'000;
constexpr std::size_t value_size = 2'000;

inline void keep_to_core(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(core), &set);
    ::sched_setaffinity(0, sizeof set, &set);
}
inline std::string redis_key(std::size_t n) { return "bench:" + std::to_string(n % redis_keys); }

/// 32 GETs in one write, their replies read, each value into a string; and again.
class hand_pipelined {
public:
    explicit hand_pipelined(unsigned short port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_port = htons(port);
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::connect(socket_, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) std::abort();
    }
    hand_pipelined(const hand_pipelined&) = delete;
    hand_pipelined& operator=(const hand_pipelined&) = delete;
    ~hand_pipelined() { ::close(socket_); }

    void run(std::size_t gets) {
        for (std::size_t at = 0; at < gets; at += depth) {
            std::string out;
            for (std::size_t i = 0; i < depth; ++i) {
                const std::string key = redis_key(at + i);
                out += "*2\r\n$3\r\nGET\r\n$" + std::to_string(key.size()) + "\r\n" + key + "\r\n";
            }
            if (::send(socket_, out.data(), out.size(), 0) != static_cast<ssize_t>(out.size()))
                std::abort();
            std::size_t have = 0;
            std::size_t from = 0;
            for (std::size_t i = 0; i < depth; ++i) {
                while (have - from < reply_size) {
                    const auto count = ::recv(socket_, room_.data() + have, room_.size() - have, 0);
                    if (count <= 0) std::abort();
                    have += static_cast<std::size_t>(count);
                }
                const std::string value(room_.data() + from + 7, value_size);
                if (value.back() != 'x') std::abort();
                from += reply_size;
            }
        }
    }

private:
    static constexpr std::size_t depth = 32;
    static constexpr std::size_t reply_size = value_size + 9;  // "$2000\r\n" before, "\r\n" behind
    int socket_;
    std::vector<char> room_ = std::vector<char>(depth * reply_size);
};

inline llmkit::task<void> get_some(llmkit::redis_client from, std::size_t* left) {
    while (*left > 0) {
        const std::string key = redis_key(--*left);
        auto reply = co_await from.command(llmkit::limit(), "GET", key);
        if (!reply || reply->text().size() != value_size) std::abort();
    }
}
inline llmkit::task<void> find_some(llmkit::redis_cache in, std::size_t* left) {
    while (*left > 0) {
        const auto key = llmkit::key_builder().add(--*left % redis_keys).finish();
        auto hit = co_await in.find(key, std::chrono::steady_clock::now(), llmkit::limit());
        if (!hit || !*hit) std::abort();
    }
}

inline redis_times time_redis(int rounds) {
    using namespace llmkit;
    const llmkit_test::temporary_folder folder;
    keep_to_core(1);  // inherited by the child
    const llmkit_test::redis_server server(folder);
    keep_to_core(0);
    const redis_cache cache(server.url());
    asio::io_context io(1);
    one_thread(io);
    const auto run = [&](auto start) {
        const auto began = std::chrono::steady_clock::now();
        start();
        io.restart();
        io.run();
        const std::chrono::duration<double, std::micro> took =
            std::chrono::steady_clock::now() - began;
        return took.count() / redis_gets;
    };
    const auto spawn = [&](task<void> what) {
        asio::co_spawn(io, std::move(what), [](std::exception_ptr failed) {
            if (failed) std::rethrow_exception(failed);
        });
    };
    const auto fill = [](redis_cache into) -> task<void> {
        const std::string value(value_size, 'x');
        for (std::size_t n = 0; n < redis_keys; ++n) {
            const std::string name = redis_key(n);
            if (auto put = co_await into.client().command(limit(), "SET", name, value); !put)
                std::abort();
            auto one = std::make_shared<cache_entry>();
            one->events.emplace_back(bytes(value));
            one->fresh_until = one->keep_until = time_point::max();
            const key128 key = key_builder().add(n).finish();
            auto put = co_await into.put(key, one, std::chrono::steady_clock::now(), limit());
            if (!put) std::abort();
        }
    };
    run([&] { spawn(fill(cache)); });
    hand_pipelined hand(server.port);
    std::size_t left = 0;
    std::vector<double> by_hand, ours, ratios, finds;
    for (int round = 0; round < rounds; ++round) {
        by_hand.push_back(run([&] { hand.run(redis_gets); }));
        ours.push_back(run([&] {
            left = redis_gets;
            for (int i = 0; i < 64; ++i) spawn(get_some(cache.client(), &left));
        }));
        ratios.push_back(ours.back() / by_hand.back());
        finds.push_back(run([&] {
            left = redis_gets;
            for (int i = 0; i < 64; ++i) spawn(find_some(cache, &left));
        }));
    }
    const auto median = [](std::vector<double> values) {
        std::sort(values.begin(), values.end());
        return values[values.size() / 2];
    };
    return {median(by_hand), median(ours), median(ratios), median(finds)};
}

/// Nanoseconds that a parser takes for one reply, from pieces of 16 KiB.
struct parse_times {
    double value = 0;  ///< of 2 KB
    double list = 0;   ///< of ten short texts
};
inline std::string replies(bool lists) {
    std::string out;
    for (int i = 0; i < 1'000; ++i) {
        if (!lists) {
            out += "$2000\r\n" + std::string(value_size, 'x') + "\r\n";
            continue;
        }
        out += "*10\r\n";
        for (int k = 0; k < 10; ++k) out += "$5\r\nhello\r\n";
    }
    return out;
}
template <class Feed>
double parse_ns(const std::string& input, const Feed& feed) {
    std::vector<double> each;
    for (int round = 0; round < 21; ++round) {
        const auto began = std::chrono::steady_clock::now();
        for (std::size_t at = 0; at < input.size(); at += 16 * 1024)
            feed(std::string_view(input).substr(at, 16 * 1024));
        const std::chrono::duration<double, std::nano> took =
            std::chrono::steady_clock::now() - began;
        each.push_back(took.count() / 1'000);
    }
    std::sort(each.begin(), each.end());
    return each[each.size() / 2];
}
inline parse_times our_parser() {
    llmkit::detail::resp_parser parser;
    const auto feed = [&](std::string_view piece) {
        parser.feed(piece);
        llmkit::detail::resp_value reply;
        while (parser.next(reply) == llmkit::detail::reply_step::reply) {
        }
    };
    return {parse_ns(replies(false), feed), parse_ns(replies(true), feed)};
}
#ifdef BENCH_HIREDIS
inline parse_times hiredis_parser() {
    redisReader* const reader = redisReaderCreate();
    const auto feed = [&](std::string_view piece) {
        redisReaderFeed(reader, piece.data(), piece.size());
        void* reply = nullptr;
        while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
            freeReplyObject(reply);
            reply = nullptr;
        }
    };
    const parse_times out{parse_ns(replies(false), feed), parse_ns(replies(true), feed)};
    redisReaderFree(reader);
    return out;
}
#endif

}  // namespace bench
