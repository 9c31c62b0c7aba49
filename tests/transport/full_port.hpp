// A port whose queue of connections is full: connecting to it takes for ever.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>

#include <llmkit/transport/url.hpp>

namespace llmkit_test {

class full_port {
public:
    explicit full_port(asio::io_context& context,
                       asio::ip::tcp::endpoint at = {asio::ip::address_v4::loopback(), 0})
        : acceptor_(context) {
        acceptor_.open(at.protocol());
        acceptor_.bind(at);
        acceptor_.listen(0);
        for (int i = 0; i < 4; ++i) {
            fillers_.emplace_back(context);
            fillers_.back().open(at.protocol());
            fillers_.back().async_connect(acceptor_.local_endpoint(), [](std::error_code) {});
        }
    }
    asio::ip::tcp::endpoint endpoint() const { return acceptor_.local_endpoint(); }
    llmkit::url where() const {
        std::string why;
        const auto port = std::to_string(endpoint().port());
        return llmkit::url::parse("http://127.0.0.1:" + port + "/", why).value();
    }

private:
    asio::ip::tcp::acceptor acceptor_;
    std::vector<asio::ip::tcp::socket> fillers_;
};

}  // namespace llmkit_test
