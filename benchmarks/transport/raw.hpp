// The limit: epoll and sockets by hand, parsing just enough to find the end of an answer.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "message.hpp"

namespace bench {

class raw {
public:
    explicit raw(unsigned short port) : poll_(::epoll_create1(0)) {
        text_ = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port) +
                "\r\nContent-Type: application/json\r\nAuthorization: Bearer sk-test\r\n"
                "Content-Length: " +
                std::to_string(request_size) + "\r\n\r\n" + request_body();
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(port);
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        for (std::size_t i = 0; i < in_flight; ++i) {
            const int one = ::socket(AF_INET, SOCK_STREAM, 0);
            if (::connect(one, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0)
                throw std::runtime_error("cannot connect");
            const int on = 1;
            ::setsockopt(one, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            epoll_event event{};
            event.events = EPOLLIN;
            event.data.u64 = i;
            ::epoll_ctl(poll_, EPOLL_CTL_ADD, one, &event);
            each_.push_back({one, 0, std::vector<char>(16 * 1024)});
        }
    }
    raw(const raw&) = delete;
    raw& operator=(const raw&) = delete;
    ~raw() {
        for (auto& one : each_) ::close(one.socket);
        ::close(poll_);
    }

    /// Makes `calls` calls; how many were answered.
    std::size_t run(std::size_t calls) {
        std::size_t asked = 0;
        std::size_t answered = 0;
        for (auto& one : each_) {
            if (asked == calls) break;
            ask(one);
            ++asked;
        }
        epoll_event events[in_flight];
        while (answered < calls) {
            const int count = ::epoll_wait(poll_, events, in_flight, -1);
            for (int i = 0; i < count; ++i) {
                connection& one = each_[events[i].data.u64];
                const auto got = ::recv(one.socket, one.buffer.data() + one.size,
                                        one.buffer.size() - one.size, MSG_DONTWAIT);
                if (got <= 0) return answered;
                one.size += static_cast<std::size_t>(got);
                if (!whole({one.buffer.data(), one.size})) continue;
                one.size = 0;
                ++answered;
                if (asked == calls) continue;
                ask(one);
                ++asked;
            }
        }
        return answered;
    }

private:
    struct connection {
        int socket;
        std::size_t size;
        std::vector<char> buffer;
    };
    void ask(connection& one) {
        if (::send(one.socket, text_.data(), text_.size(), MSG_NOSIGNAL) !=
            static_cast<ssize_t>(text_.size()))
            throw std::runtime_error("cannot send");
    }
    static bool whole(std::string_view text) {
        const auto end = text.find("\r\n\r\n");
        const auto at = text.find("Content-Length: ");
        if (end == std::string_view::npos || at > end) return false;
        return text.size() >= end + 4 + std::strtoul(text.data() + at + 16, nullptr, 10);
    }

    int poll_;
    std::string text_;
    std::vector<connection> each_;
};

}  // namespace bench
