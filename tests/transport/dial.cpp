#include <llmkit/transport/dial.hpp>

#include <dirent.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <thread>

#include <asio/local/stream_protocol.hpp>

#include "full_port.hpp"
#include "hand_clock.hpp"
#include "raw_server.hpp"
#include "test.hpp"

namespace test_transport_dial {

using namespace llmkit;
using namespace llmkit_test;
using asio::ip::tcp;

namespace {

std::size_t open_descriptors() {
    std::size_t count = 0;
    DIR* const all = ::opendir("/proc/self/fd");
    while (::readdir(all)) ++count;
    ::closedir(all);
    return count;
}

/// Dials, with time that passes by hand, to ports that hang, answer or refuse.
class bench {
public:
    bench() : time(std::make_shared<hand_clock>(context.get_executor())) {
        asio::make_service<detail::clock_service>(context, time);
        acceptor.non_blocking(true);
        // Bound, but nobody listens.
        refusing.bind({asio::ip::address_v4::loopback(), 0});
    }
    void dial(std::vector<detail::stream_endpoint> to, limit until = {}) {
        const executor on = context.get_executor();
        before = open_descriptors();
        auto one = std::make_shared<detail::dialing>(detail::socket_registry_service::of(on),
                                                     clock_handle(on), std::move(to), 250ms);
        asio::co_spawn(context, detail::dialing::run(std::move(one), until),
                       asio::bind_cancellation_slot(
                           cancel.slot(), [this](std::exception_ptr failed, detail::dialed out) {
                               threw = failed != nullptr;
                               ended = std::move(out);
                           }));
        context.poll();
    }
    const detail::dialed& end() {
        while (!ended) context.run_one();
        return *ended;
    }
    // What has been begun by now, as the server sees it.
    int accepted() {
        int count = 0;
        for (std::error_code failed; !failed; ++count) {
            auto got = acceptor.accept(failed);
            if (failed) break;
            others.push_back(std::move(got));
        }
        return count;
    }
    limit in(duration span) const {
        limit until;
        until.until = time->now() + span;
        return until;
    }

    asio::io_context context;
    std::shared_ptr<hand_clock> time;
    full_port hanging{context};
    tcp::acceptor acceptor{context, {asio::ip::address_v4::loopback(), 0}};
    tcp::socket refusing{context, tcp::v4()};
    const tcp::endpoint hangs = hanging.endpoint();
    const tcp::endpoint answers = acceptor.local_endpoint();
    const tcp::endpoint refuses{asio::ip::address_v4::loopback(), 0};
    std::vector<tcp::socket> others;
    asio::cancellation_signal cancel;
    std::optional<detail::dialed> ended;
    bool threw = false;
    std::size_t before = 0;
};

}  // namespace

TEST_CASE("the first address that answers is taken, without waiting", "[dial]") {
    bench at;
    at.dial({at.answers, at.hangs});
    CHECK(at.end().socket);
    CHECK(at.end().which == 0);
    CHECK(at.end().tried == 1);
    CHECK(at.accepted() == 1);
}

TEST_CASE("an address that hangs costs one pause, and is given up when another answers", "[dial]") {
    bench at;
    at.dial({at.hangs, at.answers, at.answers});
    at.time->pass(249ms);
    at.context.poll();
    CHECK(!at.ended);
    CHECK(at.accepted() == 0);
    at.time->pass(1ms);
    CHECK(at.end().socket);
    CHECK(at.end().which == 1);
    CHECK(at.end().tried == 2);
    at.context.poll();
    CHECK(open_descriptors() == at.before + 1);
}

TEST_CASE("an address that refuses costs no pause", "[dial]") {
    bench at;
    const auto closed = at.refusing.local_endpoint();
    at.dial({closed, closed, at.answers});
    CHECK(at.end().socket);
    CHECK(at.end().which == 2);
    CHECK(at.end().tried == 3);
}

TEST_CASE("when all refuse, dialling ends with what the last one said", "[dial]") {
    bench at;
    const auto closed = at.refusing.local_endpoint();
    at.dial({closed, closed});
    CHECK(!at.end().socket);
    CHECK(at.end().tried == 2);
    CHECK(at.end().failed == asio::error::connection_refused);
    CHECK(at.end().ended == woke::by_bell);
    CHECK(open_descriptors() == at.before);
}

TEST_CASE("when all hang, dialling ends at its limit", "[dial]") {
    bench at;
    at.dial({at.hangs, at.hangs}, at.in(600ms));
    for (int i = 0; i < 2; ++i) {
        at.time->pass(250ms);
        at.context.poll();
        CHECK(!at.ended);
    }
    at.time->pass(100ms);
    CHECK(!at.end().socket);
    CHECK(at.end().tried == 2);
    CHECK(at.end().ended == woke::by_limit);
    CHECK(open_descriptors() == at.before);
}

TEST_CASE("dialling can be cancelled, and its context may go down meanwhile", "[dial]") {
    {
        bench at;
        at.dial({at.hangs, at.hangs});
        at.time->pass(250ms);
        at.context.poll();
        CHECK(open_descriptors() == at.before + 2);
        at.cancel.emit(asio::cancellation_type::terminal);
        at.end();
        CHECK(at.threw);
        CHECK(open_descriptors() == at.before);
    }
    bench at;
    at.dial({at.hangs, at.hangs});
    at.time->pass(250ms);
    at.context.poll();
}

TEST_CASE("a Unix socket whose queue is full is tried again", "[dial]") {
    bench at;
    const auto path = "/tmp/llmkit-dial-" + std::to_string(::getpid());
    ::unlink(path.c_str());
    asio::local::stream_protocol::endpoint where(path);
    asio::local::stream_protocol::acceptor busy(at.context);
    busy.open();
    busy.bind(where);
    busy.listen(0);
    std::vector<asio::local::stream_protocol::socket> fillers;
    for (std::error_code failed; !failed;) {
        auto& one = fillers.emplace_back(at.context);
        one.open();
        one.native_non_blocking(true);
        if (::connect(one.native_handle(), where.data(), static_cast<socklen_t>(where.size())) != 0)
            failed = {errno, asio::error::get_system_category()};
    }
    at.dial({where});
    for (int i = 0; i < 3; ++i) {
        at.time->pass(10ms);
        at.context.poll();
    }
    CHECK(!at.ended);
    busy.accept();
    at.time->pass(10ms);
    CHECK(at.end().socket);
    ::unlink(path.c_str());
}

TEST_CASE("on several threads no address is taken before it has answered", "[dial]") {
    asio::io_context context;
    full_port hanging(context);
    tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
    std::function<void()> accept = [&] {
        acceptor.async_accept([&](std::error_code failed, const tcp::socket&) {
            if (!failed) accept();
        });
    };
    accept();
    constexpr int all = 2000;
    std::atomic<int> left{all}, ended{0}, wrong{0};
    std::function<void()> dial = [&] {
        if (--left < 0) return;
        const executor lane = asio::make_strand(context);
        std::vector<detail::stream_endpoint> to{hanging.endpoint(), acceptor.local_endpoint()};
        auto one = std::make_shared<detail::dialing>(detail::socket_registry_service::of(lane),
                                                     clock_handle(lane), std::move(to), 10ms);
        asio::co_spawn(lane, detail::dialing::run(std::move(one), limit()),
                       [&](std::exception_ptr, const detail::dialed& out) {
                           wrong += !out.socket || out.which != 1;
                           if (++ended == all) context.stop();
                           dial();
                       });
    };
    for (int i = 0; i < 100; ++i) dial();
    std::vector<std::thread> others;
    for (int i = 0; i < 2; ++i) others.emplace_back([&] { context.run(); });
    context.run();
    for (auto& each : others) each.join();
    CHECK(ended == all);
    CHECK(wrong == 0);
}

}  // namespace test_transport_dial
