// The program as many write it: a new connection for each call, no retry, answers in one piece,
// and a dictionary of answers by the MD5 of the request's text.
#pragma once

#include <array>
#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <asio/buffer.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/redirect_error.hpp>
#include <asio/write.hpp>

#include <openssl/evp.h>

#include <nlohmann/json.hpp>

#include "callers.hpp"

namespace demo {

inline std::string md5(std::string_view text) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
    unsigned size = 0;
    EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_md5(), nullptr);
    return std::string(reinterpret_cast<const char*>(digest.data()), size);
}

class before final : public contender {
public:
    before(asio::io_context& context, std::uint16_t port, llmkit::duration limit)
        : core_(std::make_shared<core>(context, port, limit)) {}

    bool streams() const override { return false; }
    task<call_outcome> call(std::string body) override { return answer(core_, std::move(body)); }

private:
    struct core {
        core(asio::io_context& in, std::uint16_t to, llmkit::duration longest)
            : context(in), time(in.get_executor()), port(to), limit(longest) {}
        asio::io_context& context;
        llmkit::clock_handle time;
        std::uint16_t port;
        llmkit::duration limit;
        std::unordered_map<std::string, std::string> answers;
    };
    /// What came, and whether all of it did.
    class reply {
    public:
        std::string text;
        std::string_view error;
    };

    static task<call_outcome> answer(std::shared_ptr<core> self, std::string body) {
        call_outcome outcome;
        const std::string key = md5(body);
        if (self->answers.contains(key)) {
            outcome.hit = true;
        } else {
            auto got = co_await exchange(self, std::move(body));
            if (!got.error.empty()) {
                outcome.error = got.error;
                co_return outcome;
            }
            self->answers.emplace(key, std::move(got.text));
        }
        outcome.how = ending::answered;
        outcome.first_event = self->time.now();
        co_return outcome;
    }

    static task<reply> exchange(std::shared_ptr<core> self, std::string body) {
        using asio::ip::tcp;
        auto socket = std::make_shared<tcp::socket>(self->context);
        llmkit::limit until;
        until.until = self->time.now() + self->limit;
        bool expired = false;
        const auto close = [socket, &expired](llmkit::expiry) {
            expired = true;
            std::error_code ignored;
            socket->close(ignored);
        };
        llmkit::cutoff bound(self->time, until, close);

        reply got;
        std::error_code failed;
        const tcp::endpoint server(asio::ip::address_v4::loopback(), self->port);
        co_await socket->async_connect(server, asio::redirect_error(asio::use_awaitable, failed));
        if (failed) {
            got.error = expired ? "timeout" : "connect";
            co_return got;
        }
        const std::string wire = fmt::format(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            "Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{}",
            body.size(), body);
        co_await asio::async_write(*socket, asio::buffer(wire),
                                   asio::redirect_error(asio::use_awaitable, failed));
        std::string whole;
        std::array<char, 4096> piece;
        while (!failed) {
            const std::size_t size = co_await socket->async_read_some(
                asio::buffer(piece), asio::redirect_error(asio::use_awaitable, failed));
            whole.append(piece.data(), size);
        }
        if (expired) {
            got.error = "timeout";
        } else if (failed != asio::error::eof) {
            got.error = "connection lost";
        } else {
            got.error = read(whole, got.text);
        }
        co_return got;
    }

    /// The kind of error, or nothing and the answer's text.
    static std::string_view read(const std::string& whole, std::string& text) {
        const std::size_t head = whole.find("\r\n\r\n");
        if (head == std::string::npos || whole.size() < 12) return "connection lost";
        int status = 0;
        std::from_chars(whole.data() + 9, whole.data() + 12, status);
        if (status == 429) return "rate limited";
        if (status == 503) return "overloaded";
        if (status != 200) return "server error";
        const auto json = nlohmann::json::parse(
            whole.begin() + static_cast<std::ptrdiff_t>(head + 4), whole.end(), nullptr, false);
        if (json.is_discarded()) return "truncated";
        if (!json.contains("choices")) return "server error";
        text = json["choices"][0]["message"]["content"].get<std::string>();
        return {};
    }

    std::shared_ptr<core> core_;
};

}  // namespace demo
