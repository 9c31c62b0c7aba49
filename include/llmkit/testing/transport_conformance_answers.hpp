// llmkit/testing/transport_conformance_answers.hpp: checks of what a transport makes of answers.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <llmkit/testing/transport_conformance_rig.hpp>

namespace llmkit::detail {

/// The handler that always answers so.
inline http_server::handler always(testing::server_reply reply) {
    return [reply = std::move(reply)](const testing::server_request&) { return reply; };
}

/// Runs one exchange with a server of this handler, and judges what came of it.
template <class Judge>
void add_exchange_check(testing::transport_check_list& all, std::string name,
                        http_server::handler answer, Judge judge, std::string method = "GET") {
    all.emplace_back(
        std::move(name), [answer, judge, method](const testing::transport_maker& make) {
            transport_rig rig(make, answer);
            const auto once = [](transport_rig& on, std::string how, Judge says) -> task<finding> {
                auto got = co_await exchange(on.transport(), on.ask(std::move(how)));
                co_return says(got);
            };
            return rig.run(once(rig, method, judge));
        });
}

inline task<finding> takes_statuses(transport_rig& on) {
    for (const int status : {200, 201, 204, 301, 302, 304, 307, 400, 401, 404, 407, 408, 421, 429,
                             500, 502, 503, 529, 599}) {
        auto got = co_await exchange(on.transport(), on.ask("POST", fmt::format("/{}", status)));
        const bool bare = status == 204 || status == 304;
        if (auto found = brings(got, status, bare ? "" : "{}"); !found.passed())
            co_return finding(fmt::format("{}: {}", status, found.text()));
    }
    co_return expect(on.server.requests() == 19, "it asked more often than it was told to");
}
inline testing::server_reply status_of_path(const testing::server_request& ask) {
    testing::server_reply reply(std::stoi(ask.target.substr(1)));
    reply.header("Location", "/200");
    const bool bare = ask.target.starts_with("/204") || ask.target.starts_with("/304");
    return reply.body(bare ? "" : "{}");
}

inline task<finding> takes_sizes(transport_rig& on) {
    for (const std::size_t size : {0u, 1u, 32u * 1024 + 1, 1024u * 1024 + 1}) {
        auto got = co_await exchange(on.transport(), on.ask("GET", fmt::format("/{}", size)));
        if (auto found = brings(got, 200, conformance_text(size)); !found.passed())
            co_return finding(fmt::format("of {} bytes: {}", size, found.text()));
    }
    co_return finding();
}
inline testing::server_reply size_of_path(const testing::server_request& ask) {
    return testing::server_reply().body(conformance_text(std::stoul(ask.target.substr(1))));
}

inline task<finding> takes_events_as_they_come(transport_rig& on) {
    auto answer = co_await on.transport().send(on.ask());
    if (!answer) co_return finding("it failed: " + answer.error().to_string());
    auto first = co_await answer->read();
    if (!first) co_return finding("it failed: " + first.error().to_string());
    co_return expect(first->view() == "data: one\n\n",
                     "the first event should be there, alone, while the second is awaited");
}

inline task<finding> is_slowed_by_reader(transport_rig& on) {
    auto answer = co_await on.transport().send(on.ask());
    if (!answer) co_return finding("it failed: " + answer.error().to_string());
    std::size_t taken = 0;
    std::string whole;
    const clock_handle time = on.transport().clock();
    for (int pieces = 0; pieces < 3; ++pieces) {
        auto piece = co_await answer->read();
        if (!piece) co_return finding("it failed: " + piece.error().to_string());
        whole += piece->view();
        co_await sleep_for(time, std::chrono::milliseconds(50));
    }
    taken = whole.size();
    if (on.server.in_flight() == 0)
        co_return finding(fmt::format(
            "the server has sent all 48 MiB while {} bytes were read: they lie in memory", taken));
    for (;;) {
        auto piece = co_await answer->read();
        if (!piece) co_return finding("it failed: " + piece.error().to_string());
        if (piece->empty()) break;
        whole += piece->view();
    }
    co_return expect(whole == std::string(48 << 20, 'x'), "the body lost something on its way");
}

inline finding judges_headers(const exchanged& got) {
    std::string tags;
    for (const auto [name, value] : got.fields)
        if (same_ignoring_case(name, "x-tag")) tags.append(value).append("|");
    if (tags != "one|two|a, b|") return finding("headers of one name lost their order: " + tags);
    if (got.fields.get("x-space") != "in between")
        return finding("space around a header's value belongs to the framing");
    return expect(got.fields.get("X-Empty") == "", "a header without a value got lost");
}

inline void add_answer_checks(testing::transport_check_list& all, bool framing) {
    using testing::server_reply;
    using testing::server_request;
    const auto add = [&all](std::string name, task<finding> (*check)(transport_rig&),
                            http_server::handler answer) {
        all.emplace_back(std::move(name), [check, answer](const testing::transport_maker& make) {
            transport_rig rig(make, answer);
            return rig.run(check(rig));
        });
    };
    const auto is = [](int status, std::string body) {
        return [status, body](const exchanged& got) { return brings(got, status, body); };
    };
    add("every status is an answer, and none is followed or repeated", takes_statuses,
        status_of_path);
    add("answers of any size come back byte for byte", takes_sizes, size_of_path);
    add("an event is delivered while the next is awaited", takes_events_as_they_come,
        [](const server_request&) { return server_reply().event("one").stall(); });
    add("a slow reader slows the server, and nothing piles up", is_slowed_by_reader,
        [](const server_request&) { return server_reply().body(std::string(48 << 20, 'x')); });
    add_exchange_check(all, "an answer's headers come in their order",
                       always(server_reply()
                                  .header("X-Tag", "one")
                                  .header("X-Empty", "")
                                  .header("x-tag", "two")
                                  .header("X-Space", "  in between  ")
                                  .header("X-Tag", "a, b")
                                  .body("{}")),
                       judges_headers);
    add_exchange_check(all, "an answer to HEAD has no body, whatever it announces",
                       always(server_reply().announce(1000)), is(200, ""), "HEAD");
    std::string text;
    for (int i = 0; i < 2000; ++i) text += std::to_string(i);
    const auto crumbs = [](const server_request&) {
        server_reply reply;
        for (int i = 0; i < 2000; ++i) reply.chunk(std::to_string(i));
        return reply;
    };
    add_exchange_check(all, "a body of many small pieces comes whole", crumbs, is(200, text));
    add_exchange_check(all, "a chunked body without content is empty",
                       always(server_reply().chunk("")), is(200, ""));
    if (!framing) return;
    const std::string head = "HTTP/1.1 200 OK\r\n";
    add_exchange_check(all, "interim answers are skipped",
                       always(server_reply().raw(
                           "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n"
                           "\r\n" +
                           head + "Content-Length: 4\r\n\r\nfour")),
                       is(200, "four"));
    add_exchange_check(
        all, "chunk extensions and trailers are read over",
        always(server_reply().raw(head + "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n"
                                         "2\r\nde\r\n0\r\nX-Sum: y\r\nX-Other: z\r\n\r\n")),
        is(200, "abcde"));
    add_exchange_check(all, "a body without a length lasts until the connection ends",
                       always(server_reply().raw(head + "\r\nto the end").close()),
                       is(200, "to the end"));
    add_exchange_check(all, "a 204 ends at its head, whatever comes behind it",
                       always(server_reply().raw("HTTP/1.1 204 No Content\r\n\r\n").stall()),
                       is(204, ""));
    add_exchange_check(
        all, "an answer of HTTP/1.0 is understood",
        always(server_reply().raw("HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nfour").close()),
        is(200, "four"));
}

}  // namespace llmkit::detail
