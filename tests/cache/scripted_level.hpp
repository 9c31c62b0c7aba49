// A store whose every step a test decides: quick, slow, hung, failing, wrong.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/cache/backend.hpp>
#include <llmkit/core/wait.hpp>

namespace llmkit_test {

using namespace llmkit;

/// For one thread, and virtual time.
class scripted_level {
public:
    struct script {
        std::map<key128, std::shared_ptr<const cache_entry>> entries;
        duration find_takes{}, put_takes{}, erase_takes{};
        bool fails = false;           // look-ups
        bool fails_to_write = false;  // writes and erasures
        bool ignores_limits = false;
        bool reads_first = false;            // what a look-up gives is of the time when it began
        std::function<void()> on_find;       // may throw
        std::function<void(key128)> on_put;  // when it is done
        std::shared_ptr<const cache_entry> rubbish;  // for any key
        std::vector<time_point> finds, puts;         // when they began
        std::size_t erases = 0, running = 0, running_max = 0;
    };

    explicit scripted_level(std::string_view name = "scripted") : name_(name) {}
    script* operator->() const { return script_.get(); }

    std::string_view name() const { return name_; }
    task<result<cache_hit>> find(key128 key, time_point now, limit until) const {
        return found(script_, name_, key, now, until);
    }
    task<result<void>> put(key128 key, std::shared_ptr<const cache_entry> entry, time_point now,
                           limit until) const {
        return stored(script_, key, std::move(entry), now, until);
    }
    task<result<void>> erase(key128 key, limit until) const { return erased(script_, key, until); }

private:
    struct busy {
        explicit busy(script& in) : in_(in) {
            in_.running_max = std::max(in_.running_max, ++in_.running);
        }
        busy(const busy&) = delete;
        busy& operator=(const busy&) = delete;
        ~busy() { --in_.running; }
        script& in_;
    };

    static task<bool> passed(std::shared_ptr<script> in, duration span, limit until) {
        if (span <= duration::zero()) co_return true;
        const executor here = co_await asio::this_coro::executor;
        const clock_handle time(here);
        const time_point done = after(time.now(), span);
        limit end = until.earliest(done);
        if (in->ignores_limits) {
            end = limit();
            end.until = done;
        }
        const woke why = co_await sleep_until(time, end);
        co_return why == woke::by_limit&& time.now() >= done;
    }
    static error broken() { return error(error_kind::connect, "the store is down"); }
    static error late() { return error(error_kind::timeout, "the store is slow"); }

    static task<result<cache_hit>> found(std::shared_ptr<script> in, std::string_view name,
                                         key128 key, time_point now, limit until) {
        const busy working(*in);
        in->finds.push_back(now);
        const auto had = in->entries.find(key);
        const auto then = had == in->entries.end() ? nullptr : had->second;
        const bool in_time = co_await passed(in, in->find_takes, until);
        if (!in_time) co_return late();
        if (in->on_find) in->on_find();
        if (in->fails) co_return broken();
        if (in->rubbish) co_return cache_hit(in->rubbish, name);
        if (in->reads_first) co_return then ? cache_hit(then, name) : cache_hit();
        const auto place = in->entries.find(key);
        if (place == in->entries.end()) co_return cache_hit();
        co_return cache_hit(place->second, name);
    }
    static task<result<void>> stored(std::shared_ptr<script> in, key128 key,
                                     std::shared_ptr<const cache_entry> entry, time_point now,
                                     limit until) {
        const busy working(*in);
        in->puts.push_back(now);
        const bool in_time = co_await passed(in, in->put_takes, until);
        if (!in_time) co_return late();
        if (in->fails_to_write) co_return broken();
        in->entries[key] = std::move(entry);
        if (in->on_put) in->on_put(key);
        co_return result<void>();
    }
    static task<result<void>> erased(std::shared_ptr<script> in, key128 key, limit until) {
        ++in->erases;
        const bool in_time = co_await passed(in, in->erase_takes, until);
        if (!in_time) co_return late();
        if (in->fails_to_write) co_return broken();
        in->entries.erase(key);
        co_return result<void>();
    }

    std::string_view name_;
    std::shared_ptr<script> script_ = std::make_shared<script>();
};

}  // namespace llmkit_test
