// llmkit/metrics/watch_list.hpp: the parts of a program whose figures stand beside those of calls.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <llmkit/core/reading.hpp>
#include <llmkit/metrics/snapshot.hpp>

namespace llmkit::detail {

/// Named sources of readings, in the order in which they came. Thread-safe; sources are asked, and
/// destroyed, without the lock.
class watch_list {
public:
    using source = std::function<std::vector<reading>()>;

    static constexpr std::size_t most = 16;

    void add(std::string name, source from) {
        auto fresh = std::make_shared<const one>(std::move(name), std::move(from));
        std::lock_guard lock(mutex_);
        for (auto& each : all_) {
            if (each->name != fresh->name) continue;
            std::swap(each, fresh);
            return;
        }
        if (all_.size() < most) all_.push_back(std::move(fresh));
    }

    std::vector<watched_figures> read() const {
        std::vector<std::shared_ptr<const one>> now;
        {
            std::lock_guard lock(mutex_);
            now = all_;
        }
        std::vector<watched_figures> out;
        for (const auto& each : now) out.push_back({each->name, each->from()});
        return out;
    }

private:
    struct one {
        one(std::string as, source asked) : name(std::move(as)), from(std::move(asked)) {}
        std::string name;
        source from;
    };

    mutable std::mutex mutex_;
    std::vector<std::shared_ptr<const one>> all_;
};

}  // namespace llmkit::detail
