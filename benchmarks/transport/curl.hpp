// libcurl's multi interface over epoll (curl_multi_socket_action), its quickest way.
#pragma once

#include <curl/curl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cstddef>
#include <string>
#include <vector>

#include "message.hpp"

namespace bench {

/// `ca`: a CA file, and HTTP/2 over TLS on few connections; empty: HTTP/1.1 in clear.
class curl {
public:
    curl(const std::string& base, const std::string& ca) : poll_(::epoll_create1(0)) {
        curl_global_init(CURL_GLOBAL_ALL);
        multi_ = curl_multi_init();
        curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &curl::watch);
        curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
        curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &curl::set_timer);
        curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
        curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(2 * in_flight));
        for (const char* line : {"Content-Type: application/json", "Authorization: Bearer sk-test"})
            fields_ = curl_slist_append(fields_, line);
        for (std::size_t i = 0; i < in_flight; ++i) {
            CURL* const one = curl_easy_init();
            curl_easy_setopt(one, CURLOPT_URL, (base + "/v1/chat/completions").c_str());
            curl_easy_setopt(one, CURLOPT_HTTPHEADER, fields_);
            curl_easy_setopt(one, CURLOPT_POSTFIELDS, request_body().c_str());
            curl_easy_setopt(one, CURLOPT_POSTFIELDSIZE, static_cast<long>(request_size));
            curl_easy_setopt(one, CURLOPT_WRITEFUNCTION, &curl::take);
            curl_easy_setopt(one, CURLOPT_TIMEOUT_MS, 60'000L);
            curl_easy_setopt(one, CURLOPT_NOSIGNAL, 1L);
            if (!ca.empty()) {
                curl_easy_setopt(one, CURLOPT_CAINFO, ca.c_str());
                curl_easy_setopt(one, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS);
                curl_easy_setopt(one, CURLOPT_PIPEWAIT, 1L);
            }
            each_.push_back(call{one, {}});
        }
        for (auto& one : each_) {
            curl_easy_setopt(one.handle, CURLOPT_WRITEDATA, &one.text);
            curl_easy_setopt(one.handle, CURLOPT_PRIVATE, &one);
        }
    }
    curl(const curl&) = delete;
    curl& operator=(const curl&) = delete;
    ~curl() {
        for (auto& one : each_) curl_easy_cleanup(one.handle);
        curl_multi_cleanup(multi_);
        curl_slist_free_all(fields_);
        ::close(poll_);
    }

    std::size_t run(std::size_t calls) {
        std::size_t asked = 0;
        std::size_t answered = 0;
        std::size_t ended = 0;
        const auto ask = [&](call& one) {
            one.text.clear();
            ++asked;
            curl_multi_add_handle(multi_, one.handle);
        };
        for (auto& one : each_)
            if (asked < calls) ask(one);
        epoll_event events[in_flight];
        int running = 0;
        while (ended < calls) {
            const int count = ::epoll_wait(poll_, events, in_flight, timer_);
            if (count == 0) {
                timer_ = -1;
                curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &running);
            }
            for (int i = 0; i < count; ++i) {
                const int what = ((events[i].events & (EPOLLIN | EPOLLHUP)) ? CURL_CSELECT_IN : 0) |
                                 ((events[i].events & EPOLLOUT) ? CURL_CSELECT_OUT : 0);
                curl_multi_socket_action(multi_, events[i].data.fd, what, &running);
            }
            int left = 0;
            while (CURLMsg* const message = curl_multi_info_read(multi_, &left)) {
                if (message->msg != CURLMSG_DONE) continue;
                call* done = nullptr;
                curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &done);
                const CURLcode how = message->data.result;
                if (how == CURLE_OK && done->text.size() == answer_size) ++answered;
                curl_multi_remove_handle(multi_, done->handle);
                // libcurl 7.88 gives up some calls when a connection is opened for HTTP/2, and would
                // use that connection for them again.
                const bool again = how != CURLE_OK && ++failed_ < 1000;
                curl_easy_setopt(done->handle, CURLOPT_FRESH_CONNECT, again ? 1L : 0L);
                if (!again) ++ended;
                if (again) --asked;
                if (asked < calls) ask(*done);
            }
        }
        return answered;
    }

private:
    struct call {
        CURL* handle;
        std::string text;
    };
    static int watch(CURL*, curl_socket_t socket, int what, void* self, void* known) {
        const auto* const of = static_cast<curl*>(self);
        if (what == CURL_POLL_REMOVE) {
            ::epoll_ctl(of->poll_, EPOLL_CTL_DEL, socket, nullptr);
            return 0;
        }
        epoll_event event{};
        event.events = ((what & CURL_POLL_IN) ? static_cast<unsigned>(EPOLLIN) : 0u) |
                       ((what & CURL_POLL_OUT) ? static_cast<unsigned>(EPOLLOUT) : 0u);
        event.data.fd = socket;
        ::epoll_ctl(of->poll_, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, socket, &event);
        curl_multi_assign(of->multi_, socket, self);
        return 0;
    }
    static int set_timer(CURLM*, long after, void* self) {
        static_cast<curl*>(self)->timer_ = static_cast<int>(after);
        return 0;
    }
    static std::size_t take(char* data, std::size_t, std::size_t size, void* into) {
        static_cast<std::string*>(into)->append(data, size);
        return size;
    }

    int poll_;
    int timer_ = -1;
    int failed_ = 0;
    CURLM* multi_;
    curl_slist* fields_ = nullptr;
    std::vector<call> each_;
};

}  // namespace bench
