// A real Redis: Debian's redis-server on a free loopback port, for one test.
#pragma once

#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "integration/nginx.hpp"

namespace llmkit_test {

/// redis-server, whose data are lost when it ends.
///
///     redis_server server(folder, {"--requirepass", "secret"});
///     server.kill();                                  // like kill -9
///     server.start();                                 // again, empty, at the same port
class redis_server {
public:
    /// `words` as on its command line. Clear text unless they say otherwise (`port` 0).
    explicit redis_server(const temporary_folder& in, std::vector<std::string> words = {},
                          unsigned short at = free_port())
        : port(at), in_(in), words_(std::move(words)) {
        start();
    }
    redis_server(const redis_server&) = delete;
    redis_server& operator=(const redis_server&) = delete;
    ~redis_server() { kill(); }

    void start() {
        std::vector<std::string> all{"redis-server",
                                     "--port",
                                     std::to_string(port),
                                     "--bind",
                                     "127.0.0.1",
                                     "--save",
                                     "",
                                     "--appendonly",
                                     "no",
                                     "--dir",
                                     in_.path(),
                                     "--protected-mode",
                                     "no"};
        all.insert(all.end(), words_.begin(), words_.end());
        process_ = start_program(all, (in_.path() / "redis.log").string());
        if (process_ < 0)
            throw std::runtime_error(
                "redis-server is missing (Debian: apt-get install redis-server)");
        for (int tries = 0; tries < 6000; ++tries) {
            if (accepts(port)) return;
            if (::waitpid(process_, nullptr, WNOHANG) == process_) {
                process_ = -1;
                break;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        kill();
        throw std::runtime_error("redis-server does not start: " + in_.read("redis.log"));
    }
    void kill() {
        if (process_ < 0) return;
        ::kill(process_, SIGKILL);
        ::waitpid(process_, nullptr, 0);
        process_ = -1;
    }
    void stop() const {
        ::kill(process_, SIGSTOP);
        ::waitpid(process_, nullptr, WUNTRACED);  // until it stands still
    }
    void go_on() const { ::kill(process_, SIGCONT); }
    std::string url(const std::string& who = "") const {
        return "redis://" + who + "127.0.0.1:" + std::to_string(port);
    }

    const unsigned short port;

private:
    static bool accepts(unsigned short at) {
        asio::io_context context;
        asio::ip::tcp::socket probe(context);
        std::error_code failed;
        probe.connect({asio::ip::address_v4::loopback(), at}, failed);
        return !failed;
    }
    const temporary_folder& in_;
    const std::vector<std::string> words_;
    pid_t process_ = -1;
};

}  // namespace llmkit_test
