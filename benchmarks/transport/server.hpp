// A server in a process of its own, as quick as can be: whoever asks gets the same answer.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "measure.hpp"
#include "message.hpp"

namespace bench {

/// Answers every request that has a body of `Content-Length` bytes. Ends with this object.
class server {
public:
    server() {
        const int listening = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof at;
        if (::bind(listening, reinterpret_cast<sockaddr*>(&at), size) != 0 ||
            ::listen(listening, 4096) != 0)
            throw std::runtime_error("cannot listen");
        ::getsockname(listening, reinterpret_cast<sockaddr*>(&at), &size);
        port_ = ntohs(at.sin_port);
        process_ = ::fork();
        if (process_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            stay_on(1);
            serve(listening);
        }
        ::close(listening);
    }
    server(const server&) = delete;
    server& operator=(const server&) = delete;
    ~server() {
        ::kill(process_, SIGKILL);
        ::waitpid(process_, nullptr, 0);
    }
    unsigned short port() const { return port_; }

private:
    [[noreturn]] static void serve(int listening) {
        const std::string answer =
            "HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: application/json\r\n"
            "Content-Length: " +
            std::to_string(answer_size) + "\r\nConnection: keep-alive\r\n\r\n" + answer_body();
        const int poll = ::epoll_create1(0);
        watch(poll, listening);
        std::vector<std::string> unread;
        std::vector<char> piece(65536);
        epoll_event events[128];
        for (;;) {
            const int count = ::epoll_wait(poll, events, 128, -1);
            for (int i = 0; i < count; ++i) {
                const int at = events[i].data.fd;
                if (at == listening) {
                    const int fresh = ::accept4(listening, nullptr, nullptr, SOCK_NONBLOCK);
                    if (fresh < 0) continue;
                    const int on = 1;
                    ::setsockopt(fresh, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    if (unread.size() <= static_cast<std::size_t>(fresh))
                        unread.resize(static_cast<std::size_t>(fresh) + 1);
                    unread[static_cast<std::size_t>(fresh)].clear();
                    watch(poll, fresh);
                    continue;
                }
                const auto got = ::recv(at, piece.data(), piece.size(), 0);
                if (got <= 0) {
                    if (got < 0 && errno == EAGAIN) continue;
                    ::close(at);
                    continue;
                }
                std::string& text = unread[static_cast<std::size_t>(at)];
                text.append(piece.data(), static_cast<std::size_t>(got));
                while (whole(text))
                    if (::send(at, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) break;
            }
        }
    }
    static void watch(int poll, int what) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = what;
        ::epoll_ctl(poll, EPOLL_CTL_ADD, what, &event);
    }
    // Takes one request off the front of `text`.
    static bool whole(std::string& text) {
        const auto end = text.find("\r\n\r\n");
        if (end == std::string::npos) return false;
        auto at = text.find("ontent-Length: ");
        if (at == std::string::npos) at = text.find("ontent-length: ");
        const std::size_t length = at < end ? std::strtoul(text.c_str() + at + 15, nullptr, 10) : 0;
        if (text.size() < end + 4 + length) return false;
        text.erase(0, end + 4 + length);
        return true;
    }

    pid_t process_ = -1;
    unsigned short port_ = 0;
};

}  // namespace bench
