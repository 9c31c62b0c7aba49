// llmkit/cache/redis_lease.hpp: leases in a Redis: a key with a token that only its holder knows.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include <llmkit/cache/lease.hpp>
#include <llmkit/cache/redis_client.hpp>
#include <llmkit/core/key.hpp>

namespace llmkit::detail {

/// A text that no other holder of a lease has, in whatever process.
inline std::string lease_token() {
    static const key128 process = [] {
        std::random_device device;
        const auto word = [&] { return (std::uint64_t{device()} << 32) ^ device(); };
        return key128{word(), word()};
    }();
    static std::atomic<std::uint64_t> count{0};
    return to_hex(process) + std::to_string(++count);
}

/// Redis removes the key at the end of the term. Renewed and released by scripts that compare the
/// token first: a lease that ran out may be somebody else's by then.
class redis_lease final : public cache_lease {
public:
    redis_lease(redis_client client, std::string name, duration term)
        : client_(std::move(client)),
          name_(std::move(name)),
          token_(lease_token()),
          term_(std::chrono::ceil<std::chrono::milliseconds>(term)) {}

    /// Null: another holder has it.
    static task<result<std::shared_ptr<cache_lease>>> take(redis_client client, std::string name,
                                                           duration term, limit until) {
        auto mine = std::make_shared<redis_lease>(std::move(client), std::move(name), term);
        auto reply = co_await mine->client_.command(until, "SET", mine->name_, mine->token_, "NX",
                                                    "PX", mine->term_.count());
        if (!reply) co_return reply.error();
        std::shared_ptr<cache_lease> out;
        if (reply->says("OK")) out = std::move(mine);
        co_return out;
    }
    duration term() const override { return term_; }
    task<result<bool>> renew(limit until) override {
        static const redis_script script(
            "if redis.call('GET', KEYS[1]) == ARGV[1] then "
            "return redis.call('PEXPIRE', KEYS[1], ARGV[2]) else return 0 end");
        auto reply = co_await client_.run(until, script, name_, token_, term_.count());
        if (!reply) co_return reply.error();
        co_return reply->integer() == 1;
    }
    task<void> release(limit until) override {
        static const redis_script script(
            "if redis.call('GET', KEYS[1]) == ARGV[1] then "
            "return redis.call('DEL', KEYS[1]) else return 0 end");
        auto reply = co_await client_.run(until, script, name_, token_);
        static_cast<void>(reply);  // otherwise it runs out
    }

private:
    const redis_client client_;
    const std::string name_;
    const std::string token_;
    const std::chrono::milliseconds term_;
};

}  // namespace llmkit::detail
