// llmkit/cache/store_command.hpp: a command on its way to a store, and many in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>

#include <llmkit/core/limit.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/core/wait.hpp>

namespace llmkit::detail {

/// A command with its caller, in whose frame it lives. Guarded by the link that it is given to.
template <class Reply>
struct store_command {
    explicit store_command(std::string text) : request(std::move(text)), size(request.size()) {}
    store_command(const store_command&) = delete;
    store_command& operator=(const store_command&) = delete;

    std::string request;
    const std::size_t size;
    result<Reply> got;
    bell changed;
    time_point asked;
    std::uint64_t place = 0;  // in its queue
    bool joined = false;      // is in one
    bool sent = false;
    bool done = false;
};

/// Commands in the order in which they came. Who leaves one keeps his place, empty: replies come in
/// that order.
template <class Reply>
class store_queue {
public:
    using command = store_command<Reply>;

    bool empty() const { return all_.empty(); }
    std::size_t size() const { return all_.size(); }
    /// Of the commands that are still wanted.
    std::size_t bytes() const { return bytes_; }
    void push(command& one) {
        one.place = first_ + all_.size();
        bytes_ += one.size;
        all_.push_back(&one);
    }
    /// The oldest; null when its caller has left.
    command* pop() {
        command* const one = all_.front();
        all_.pop_front();
        ++first_;
        if (one) bytes_ -= one->size;
        return one;
    }
    void leave(const command& one) { all_[static_cast<std::size_t>(one.place - first_)] = nullptr; }
    /// Drops the empty places at the front.
    void tidy() {
        while (!all_.empty() && !all_.front()) pop();
    }

private:
    std::deque<command*> all_;
    std::uint64_t first_ = 0;
    std::size_t bytes_ = 0;
};

}  // namespace llmkit::detail
