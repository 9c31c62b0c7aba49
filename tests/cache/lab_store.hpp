// A store in memory for the tests of what asks stores: it is slow, fails and mixes up as told.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

#include <llmkit/cache/backend.hpp>
#include <llmkit/core/wait.hpp>

namespace llmkit_test {

using namespace llmkit;
using namespace std::chrono_literals;

/// A store whose every step a test decides.
class lab_store {
public:
    explicit lab_store(clock_handle time) : lab_(std::make_shared<lab>(std::move(time))) {}

    struct lab {
        explicit lab(clock_handle passing) : time(std::move(passing)) {}
        clock_handle time;
        std::map<key128, std::shared_ptr<const cache_entry>> entries;
        bool one_slot = false;  // gives what it has, whatever the key
        duration find_takes{}, put_takes{};
        std::function<void()> on_find;  // may throw
        bool fails = false;
        bool only_answers = false;  // fails where it is asked for a tag
        std::size_t finds = 0, puts = 0;
    };
    lab* operator->() const { return lab_.get(); }

    std::string_view name() const { return "lab"; }
    task<result<cache_hit>> find(key128 key, time_point, limit until) const {
        return found(lab_, key, until);
    }
    task<result<void>> put(key128 key, std::shared_ptr<const cache_entry> entry, time_point,
                           limit until) const {
        return stored(lab_, key, std::move(entry), until);
    }
    task<result<void>> erase(key128 key, limit) const { return erased(lab_, key); }

private:
    static task<bool> passed(std::shared_ptr<lab> in, duration span, limit until) {
        if (span <= 0s) co_return true;
        const time_point done = after(in->time.now(), span);
        co_await sleep_until(in->time, until.earliest(done));
        co_return in->time.now() >= done;
    }
    static error late() { return error(error_kind::timeout, "the store was late"); }
    static error broken() { return error(error_kind::connect, "the store is down"); }

    static task<result<cache_hit>> found(std::shared_ptr<lab> in, key128 key, limit until) {
        ++in->finds;
        const bool in_time = co_await passed(in, in->find_takes, until);
        if (!in_time) co_return late();
        if (in->on_find) in->on_find();
        if (in->fails || (in->only_answers && is_tag_key(key))) co_return broken();
        const auto place = in->one_slot ? in->entries.begin() : in->entries.find(key);
        if (place == in->entries.end()) co_return cache_hit();
        co_return cache_hit(place->second, "lab");
    }
    static task<result<void>> stored(std::shared_ptr<lab> in, key128 key,
                                     std::shared_ptr<const cache_entry> entry, limit until) {
        const bool in_time = co_await passed(in, in->put_takes, until);
        if (!in_time) co_return late();
        if (in->fails) co_return broken();
        ++in->puts;
        in->entries[key] = std::move(entry);
        co_return result<void>();
    }
    static task<result<void>> erased(std::shared_ptr<lab> in, key128 key) {
        if (in->fails) co_return broken();
        in->entries.erase(key);
        co_return result<void>();
    }

    std::shared_ptr<lab> lab_;
};

}  // namespace llmkit_test
