// llmkit/transport/curl_loop.hpp: libcurl's multi interface, driven by Asio on one lane.
#pragma once

#include <curl/curl.h>
#include <fcntl.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <asio/posix/stream_descriptor.hpp>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/transport/curl_call.hpp>
#include <llmkit/transport/curl_options.hpp>
#include <llmkit/transport/registry.hpp>

namespace llmkit::detail {

/// All transfers of one transport. libcurl says which sockets it waits for and how long it may
/// sleep; Asio waits, and calls it back. Everything of libcurl's happens on one lane; only
/// `start`, `resume`, `abandon`, `drain` and `cut` may be called from anywhere.
class curl_loop final : public droppable, public std::enable_shared_from_this<curl_loop> {
public:
    curl_loop(const executor& on, curl_options how)
        : time(on),
          options(std::move(how)),
          counters(std::make_shared<curl_counters>()),
          registry_(socket_registry_service::of(on)) {
        // Once a process; never undone, as others may use libcurl as well.
        static const CURLcode ready = ::curl_global_init(CURL_GLOBAL_DEFAULT);
        if (ready != CURLE_OK) return;
        lane_ = time.lane();
        timer_.emplace(lane_);
        multi_ = ::curl_multi_init();
        const curl_policy& bounds = options.policy();
        const auto at_most = [](std::size_t count) {
            return static_cast<long>(std::clamp<std::size_t>(count, 1, 1'000'000));
        };
        ::curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &on_socket);
        ::curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
        ::curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &on_timer);
        ::curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
        ::curl_multi_setopt(multi_, CURLMOPT_MAX_TOTAL_CONNECTIONS,
                            at_most(bounds.max_connections));
        ::curl_multi_setopt(multi_, CURLMOPT_MAX_HOST_CONNECTIONS, at_most(bounds.max_per_host));
        // libcurl counts those in use as well, and would close one at each answer.
        ::curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, at_most(bounds.max_connections));
        registry_->add(*this);
    }
    curl_loop(const curl_loop&) = delete;
    curl_loop& operator=(const curl_loop&) = delete;
    ~curl_loop() {
        registry_->remove(*this);
        let_go();
    }

    const clock_handle time;
    const curl_options options;
    const std::shared_ptr<curl_counters> counters;

    /// Null when this libcurl does not work at all.
    CURL* handle() {
        {
            std::lock_guard lock(mutex_);
            if (!spare_.empty()) {
                CURL* const again = spare_.back();
                spare_.pop_back();
                return again;
            }
        }
        return ::curl_easy_init();
    }
    void start(std::shared_ptr<curl_call> call) {
        on_lane([self = shared_from_this(), call = std::move(call)] { self->add(call); });
    }
    /// The reader has taken what was there.
    void resume(std::shared_ptr<curl_call> call) {
        on_lane([self = shared_from_this(), call = std::move(call)] { self->go_on(*call); });
    }
    /// Nobody wants the answer any more: the transfer ends, and a connection that it holds.
    void abandon(const std::shared_ptr<curl_call>& call, const error& why) {
        call->total.reset();
        {
            std::vector<wakeup> woken;
            std::lock_guard lock(call->mutex);
            if (call->ended) return;
            call->fail(why, woken);
        }
        remove_soon(call);
    }
    /// The reader has all he wants. What is left of the message is read, for a short while and a
    /// few bytes, so that the connection can be used again; not longer than the transport lives.
    void drain(const std::shared_ptr<curl_call>& call) {
        call->total.reset();
        {
            std::lock_guard lock(call->mutex);
            if (call->ended || call->failed()) return;
            call->draining = true;
            call->piece.clear();
        }
        limit until;
        until.until = after(time.now(), std::chrono::milliseconds(50));
        call->total.emplace(time, until, curl_cut{weak_from_this(), call});
        on_lane([weak = weak_from_this(), call] {
            if (const auto self = weak.lock()) self->go_on(*call);
        });
    }
    /// A call's limit has passed, or its pipeline was closed.
    void cut(const std::shared_ptr<curl_call>& call, expiry how) {
        {
            std::vector<wakeup> woken;
            std::lock_guard lock(call->mutex);
            const error closed(error_kind::closed, "the pipeline was closed during this call");
            call->fail(how == expiry::closed ? closed : call->overdue(), woken);
        }
        remove_soon(call);
    }

    void drop() noexcept override { let_go(); }

private:
    /// A socket that libcurl waits for, under a descriptor of ours: libcurl closes its own at times
    /// before it says so, and the number may be another's by then.
    struct watch {
        watch(const executor& on, curl_socket_t which) : socket(on), name(which) {}
        asio::posix::stream_descriptor socket;
        const curl_socket_t name;
        int wanted = CURL_POLL_NONE;
        bool reading = false;
        bool writing = false;
    };

    template <class Work>
    void on_lane(Work work) {
        executor lane;
        {
            std::lock_guard lock(mutex_);
            lane = lane_;
        }
        if (lane) asio::dispatch(lane, std::move(work));
    }
    void remove_soon(const std::shared_ptr<curl_call>& call) {
        on_lane([weak = weak_from_this(), call] {
            const auto self = weak.lock();
            if (!self || self->active_.count(call->easy) == 0) return;
            self->break_off(call);
            self->settle();
        });
    }

    // All below is done on the lane.

    void add(const std::shared_ptr<curl_call>& call) {
        {
            std::lock_guard lock(call->mutex);
            if (call->failed()) return;
        }
        if (!multi_) return refuse(*call, error(error_kind::closed, "the io_context has ended"));
        active_.emplace(call->easy, call);
        ++counters->calls;
        call->enter_queue();
        ::curl_multi_add_handle(multi_, call->easy);
        due_ = 0;  // so that it is known at once whether the call has to wait
        settle();
        bool queued = false;
        {
            std::lock_guard lock(call->mutex);
            queued = call->phase == curl_phase::queued && !call->failed();
        }
        if (!queued || counters->waiting <= options.policy().max_queued) return;
        refuse(*call, error(error_kind::refused, "too many calls already wait for a connection")
                          .with_advice("Send less at once, or raise curl_policy::max_connections "
                                       "or max_queued."));
        break_off(call);
        settle();
    }
    static void refuse(curl_call& call, const error& why) {
        std::vector<wakeup> woken;
        std::lock_guard lock(call.mutex);
        call.fail(why, woken);
    }
    /// Ends a pause. What libcurl 7.88 has already read of HTTP/2 it gives out when the socket
    /// stirs, which it may not do again: so it hears that it did.
    void go_on(const curl_call& call) {
        if (active_.count(call.easy) == 0) return;
        ::curl_easy_pause(call.easy, CURLPAUSE_CONT);
        settle();
        if (active_.count(call.easy) == 0) return;
        long version = CURL_HTTP_VERSION_NONE;
        ::curl_easy_getinfo(call.easy, CURLINFO_HTTP_VERSION, &version);
        if (version < CURL_HTTP_VERSION_2_0) return;
        // Which socket is its own, libcurl tells of finished transfers only.
        std::vector<curl_socket_t> all;
        for (const auto& [which, one] : watches_) all.push_back(which);
        for (const curl_socket_t which : all)
            if (watches_.count(which) != 0) act(which, CURL_CSELECT_IN);
        settle();
    }
    /// Ends a call whose answer is not complete, so that its server hears of it. libcurl 7.88 writes
    /// a reset of HTTP/2, but does not send it before something else happens on the connection: so
    /// something does, or the connection is closed when nobody else uses it.
    void break_off(const std::shared_ptr<curl_call>& call) {
        const long port = port_of(call->easy);
        ::curl_easy_setopt(call->easy, CURLOPT_FORBID_REUSE, 1L);
        end(call);
        for (const auto& [easy, other] : active_) {
            if (port == 0 || port_of(easy) != port) continue;
            ::curl_easy_pause(easy, CURLPAUSE_ALL);
            ::curl_easy_pause(easy, CURLPAUSE_CONT);
            break;
        }
    }
    /// The local port, which tells connections apart; 0 when there is none.
    static long port_of(CURL* easy) {
        long port = 0;
        ::curl_easy_getinfo(easy, CURLINFO_LOCAL_PORT, &port);
        return std::max(port, 0L);
    }
    /// Takes a call away from libcurl.
    void end(const std::shared_ptr<curl_call>& call) {
        CURL* const easy = call->easy;
        if (active_.erase(easy) == 0) return;
        --counters->calls;
        ::curl_multi_remove_handle(multi_, easy);
        call->easy = nullptr;
        call->body = bytes();
        ::curl_easy_reset(easy);
        {
            std::lock_guard lock(mutex_);
            if (spare_.size() < most_spare) {
                spare_.push_back(easy);
                return;
            }
        }
        ::curl_easy_cleanup(easy);
    }
    auto waking() {
        return [weak = weak_from_this()](const std::error_code& failed = {}) {
            const auto self = weak.lock();
            if (failed || !self || !self->multi_) return;
            self->due_ = 0;
            self->settle();
        };
    }

    auto ready(const std::shared_ptr<watch>& one, int what) {
        return [weak = weak_from_this(), one, what](const std::error_code& failed) {
            (what == CURL_CSELECT_IN ? one->reading : one->writing) = false;
            const auto self = weak.lock();
            if (failed || !self || !self->multi_ || !one->socket.is_open()) return;
            if ((one->wanted & what) != 0) self->act(one->name, what);
            self->settle();
            if (one->socket.is_open()) self->wait_for(one);
        };
    }

    void act(curl_socket_t on, int what) {
        int running = 0;
        ::curl_multi_socket_action(multi_, on, what, &running);
    }
    /// After each call of libcurl: what has ended, and what it wants to do at once.
    void settle() {
        for (int rounds = 0; multi_; ++rounds) {
            collect();
            if (due_ != 0) break;
            if (rounds == 16) {  // others want the thread, too
                asio::post(lane_, waking());
                break;
            }
            due_ = -1;
            act(CURL_SOCKET_TIMEOUT, 0);
        }
    }
    void collect() {
        int left = 0;
        while (CURLMsg* const message = ::curl_multi_info_read(multi_, &left)) {
            if (message->msg != CURLMSG_DONE) continue;
            const auto found = active_.find(message->easy_handle);
            if (found == active_.end()) continue;
            const std::shared_ptr<curl_call> call = found->second;
            call->done(message->data.result);
            end(call);
        }
    }
    static int on_timer(CURLM*, long milliseconds, void* data) noexcept {
        auto& self = *static_cast<curl_loop*>(data);
        self.due_ = milliseconds;
        if (!self.timer_ || milliseconds == 0) return 0;  // `settle` is about to look
        if (milliseconds < 0) {
            self.timer_->cancel();
            return 0;
        }
        self.timer_->expires_after(std::chrono::milliseconds(milliseconds));
        self.timer_->async_wait(self.waking());
        return 0;
    }
    static int on_socket(CURL*, curl_socket_t which, int wanted, void* data, void*) noexcept {
        static_cast<curl_loop*>(data)->watch_for(which, wanted);
        return 0;
    }
    void watch_for(curl_socket_t which, int wanted) {
        const auto found = watches_.find(which);
        if (wanted == CURL_POLL_REMOVE) {
            if (found == watches_.end()) return;
            std::error_code ignored;
            found->second->socket.close(ignored);
            watches_.erase(found);
            return;
        }
        if (!lane_) return;
        auto& one = watches_[which];
        if (!one) {
            one = std::make_shared<watch>(lane_, which);
            const int same = ::fcntl(which, F_DUPFD_CLOEXEC, 0);
            std::error_code failed;
            one->socket.assign(same, failed);
        }
        one->wanted = wanted;
        wait_for(one);
    }
    void wait_for(const std::shared_ptr<watch>& one) {
        if ((one->wanted & CURL_POLL_IN) && !one->reading) {
            one->reading = true;
            one->socket.async_wait(asio::posix::stream_descriptor::wait_read,
                                   ready(one, CURL_CSELECT_IN));
        }
        if ((one->wanted & CURL_POLL_OUT) && !one->writing) {
            one->writing = true;
            one->socket.async_wait(asio::posix::stream_descriptor::wait_write,
                                   ready(one, CURL_CSELECT_OUT));
        }
    }
    /// Ends everything. On the lane, or when nothing runs there any more.
    void let_go() noexcept {
        std::vector<CURL*> spare;
        {
            std::lock_guard lock(mutex_);
            lane_ = executor();
            spare.swap(spare_);
        }
        for (CURL* const one : spare) ::curl_easy_cleanup(one);
        CURLM* const multi = std::exchange(multi_, nullptr);
        timer_.reset();
        // Waiting frames are unwound by the clock. Answers that outlive this say why they end.
        for (auto& [easy, call] : active_) {
            ::curl_multi_remove_handle(multi, easy);
            ::curl_easy_cleanup(easy);
            call->easy = nullptr;
            std::lock_guard lock(call->mutex);
            if (!call->failed() && !call->ended)
                call->failure = error(error_kind::closed, "the io_context has ended");
        }
        counters->calls -= active_.size();
        if (multi) ::curl_multi_cleanup(multi);
        watches_.clear();
        active_.clear();
    }

    static constexpr std::size_t most_spare = 64;

    const std::shared_ptr<socket_registry> registry_;
    std::mutex mutex_;  // lane_ as others see it, spare_
    executor lane_;
    std::vector<CURL*> spare_;
    std::optional<asio::steady_timer> timer_;
    CURLM* multi_ = nullptr;
    long due_ = -1;  ///< milliseconds until libcurl wants to be called; -1 for never
    std::unordered_map<CURL*, std::shared_ptr<curl_call>> active_;
    std::unordered_map<curl_socket_t, std::shared_ptr<watch>> watches_;
};

inline void curl_cut::operator()(expiry how) const {
    const auto loop = in.lock();
    const auto call = of.lock();
    if (loop && call) loop->cut(call, how);
}

}  // namespace llmkit::detail
