// A server on loopback that does with each connection what a test says, with blocking sockets.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <list>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <llmkit/detail/resp_parser.hpp>

namespace llmkit_test {

/// One accepted connection.
class store_peer {
public:
    store_peer(int socket, std::size_t which) : number(which), socket_(socket) {}

    /// The words of the next command; none at the connection's end.
    std::vector<std::string> command() {
        llmkit::detail::resp_value got;
        for (;;) {
            if (parser_.next(got) == llmkit::detail::reply_step::reply) break;
            const auto count = ::recv(socket_, room_, sizeof room_, 0);
            if (count <= 0) return {};
            parser_.feed({room_, static_cast<std::size_t>(count)});
        }
        std::vector<std::string> words;
        for (auto& word : got.items()) words.push_back(word.take_text());
        return words;
    }
    void say(std::string_view text) {
        while (!text.empty()) {
            const auto count = ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
            if (count <= 0) return;
            text.remove_prefix(static_cast<std::size_t>(count));
        }
    }
    /// Answers the greeting of a client without a password.
    bool greet() {
        if (command().empty()) return false;
        say("+PONG\r\n");
        return true;
    }
    /// Waits until the other side has ended the connection.
    void wait_for_end() {
        while (::recv(socket_, room_, sizeof room_, 0) > 0) {
        }
    }
    /// Ends it with a reset instead of an orderly close.
    void reset() {
        const linger now{1, 0};
        ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }

    const std::size_t number;  ///< 0 for the first connection

private:
    const int socket_;
    llmkit::detail::resp_parser parser_;
    char room_[4096];
};

class scripted_store {
public:
    /// `serve` runs on a thread for each connection, which ends when it returns.
    explicit scripted_store(std::function<void(store_peer&)> serve) : serve_(std::move(serve)) {
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof at;
        if (::bind(listener_, reinterpret_cast<sockaddr*>(&at), size) != 0 ||
            ::listen(listener_, 64) != 0 ||
            ::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size) != 0)
            throw std::runtime_error("cannot listen on loopback");
        port_ = ntohs(at.sin_port);
        accepting_ = std::thread([this] { accept(); });
    }
    scripted_store(const scripted_store&) = delete;
    scripted_store& operator=(const scripted_store&) = delete;
    ~scripted_store() {
        ::shutdown(listener_, SHUT_RDWR);
        accepting_.join();
        ::close(listener_);
        {
            const std::lock_guard lock(mutex_);
            for (const auto& one : open_) {
                if (one.socket >= 0) ::shutdown(one.socket, SHUT_RDWR);
            }
        }
        for (auto& one : open_) one.thread.join();
    }

    unsigned short port() const { return port_; }
    std::size_t accepted() const { return accepted_; }

private:
    struct client {
        int socket = -1;
        std::thread thread;
    };

    void accept() {
        for (;;) {
            const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (socket < 0) return;
            const std::lock_guard lock(mutex_);
            client& one = open_.emplace_back();
            one.socket = socket;
            one.thread = std::thread([this, &one, socket, number = accepted_++] {
                store_peer peer(socket, number);
                serve_(peer);
                const std::lock_guard closing(mutex_);
                ::close(socket);
                one.socket = -1;
            });
        }
    }

    std::function<void(store_peer&)> serve_;
    int listener_ = -1;
    unsigned short port_ = 0;
    std::atomic<std::size_t> accepted_{0};
    std::mutex mutex_;
    std::list<client> open_;
    std::thread accepting_;
};

/// A port of this machine at which nobody listens, and nobody else will.
class taken_port {
public:
    taken_port() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        at_.sin_family = AF_INET;
        at_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof at_;
        if (::bind(socket_, reinterpret_cast<sockaddr*>(&at_), size) != 0 ||
            ::getsockname(socket_, reinterpret_cast<sockaddr*>(&at_), &size) != 0)
            throw std::runtime_error("cannot take a port");
    }
    taken_port(const taken_port&) = delete;
    taken_port& operator=(const taken_port&) = delete;
    ~taken_port() { ::close(socket_); }
    unsigned short number() const { return ntohs(at_.sin_port); }

private:
    int socket_;
    sockaddr_in at_{};
};

/// Something that one thread waits for and another one says.
class go_ahead {
public:
    void give() {
        const std::lock_guard lock(mutex_);
        given_ = true;
        changed_.notify_all();
    }
    void wait() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return given_; });
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool given_ = false;
};

}  // namespace llmkit_test
