// Boost.Beast as its own examples use it: asynchronous calls, tcp_stream with a time limit.
//
// A program of its own, because Boost.Asio and Asio give the same names to different things. For
// each number of calls on a line of its input it makes these and prints how many were answered and
// the CPU seconds it used.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

#include "measure.hpp"
#include "message.hpp"

namespace bench {

class beast {
    using error_code = boost::system::error_code;
    using tcp = boost::asio::ip::tcp;

public:
    explicit beast(unsigned short port) {
        for (std::size_t i = 0; i < in_flight; ++i) {
            each_.push_back(std::make_unique<call>(*this));
            call& one = *each_.back();
            one.stream.connect(tcp::endpoint(boost::asio::ip::address_v4::loopback(), port));
            one.stream.socket().set_option(tcp::no_delay(true));
        }
        host_ = "127.0.0.1:" + std::to_string(port);
    }
    std::size_t run(std::size_t calls) {
        left_ = calls;
        answered_ = 0;
        for (auto& one : each_) one->ask();
        io_.restart();
        io_.run();
        return answered_;
    }

private:
    struct call {
        explicit call(beast& in) : of(in), stream(in.io_) {}
        void ask() {
            if (of.left_ == 0) return stream.expires_never();
            --of.left_;
            namespace http = boost::beast::http;
            request = {http::verb::post, "/v1/chat/completions", 11};
            request.set(http::field::host, of.host_);
            request.set(http::field::content_type, "application/json");
            request.set(http::field::authorization, "Bearer sk-test");
            request.body() = request_body();
            request.prepare_payload();
            stream.expires_after(std::chrono::seconds(30));
            http::async_write(stream, request, [this](error_code failed, std::size_t) {
                if (!failed) read();
            });
        }
        void read() {
            answer = {};
            boost::beast::http::async_read(stream, buffer, answer,
                                           [this](error_code failed, std::size_t) {
                                               if (failed) return;
                                               if (answer.body().size() == answer_size)
                                                   ++of.answered_;
                                               ask();
                                           });
        }
        beast& of;
        boost::beast::tcp_stream stream;
        boost::beast::flat_buffer buffer;
        boost::beast::http::request<boost::beast::http::string_body> request;
        boost::beast::http::response<boost::beast::http::string_body> answer;
    };

    boost::asio::io_context io_{1};
    std::vector<std::unique_ptr<call>> each_;
    std::string host_;
    std::size_t left_ = 0;
    std::size_t answered_ = 0;
};

}  // namespace bench

int main(int count, char** words) {
    if (count < 2) return 2;
    bench::beast client(static_cast<unsigned short>(std::atoi(words[1])));
    std::size_t calls = 0;
    while (std::scanf("%zu", &calls) == 1) {
        const double start = bench::cpu_seconds();
        const std::size_t answered = client.run(calls);
        std::printf("%zu %.9f\n", answered, bench::cpu_seconds() - start);
        std::fflush(stdout);
    }
}
