// llmkit/testing/transport_conformance_requests.hpp: checks of what a transport sends.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <llmkit/detail/http_chars.hpp>
#include <llmkit/testing/transport_conformance_rig.hpp>

namespace llmkit::detail {

inline testing::server_reply conformance_pong(const testing::server_request&) {
    return testing::server_reply().body("pong");
}

inline task<finding> sends_methods(transport_rig& on) {
    const std::vector<std::string> methods{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    for (const std::string& method : methods) {
        auto got = co_await exchange(on.transport(), on.ask(method));
        if (auto found = brings(got, 200, "pong"); !found.passed())
            co_return finding(method + ": " + found.text());
        if (on.server.log().back().method != method)
            co_return finding(method + " arrived as " + on.server.log().back().method);
    }
    co_return finding();
}

inline task<finding> sends_bodies(transport_rig& on) {
    const std::vector<std::string> methods{"POST", "PUT", "DELETE"};
    for (const std::size_t size : {0u, 1u, 32u * 1024 + 1, 1024u * 1024 + 1}) {
        for (const std::string& method : methods) {
            const std::string text = conformance_text(size);
            auto got = co_await exchange(on.transport(), on.ask(method, "/p", bytes(text)));
            if (auto found = brings(got, 200, "pong"); !found.passed()) co_return found;
            const auto arrived = on.server.log().back();
            if (arrived.body != text)
                co_return finding(fmt::format("of {} bytes sent by {}, {} arrived, or others", size,
                                              method, arrived.body.size()));
        }
    }
    co_return finding();
}

inline task<finding> sends_targets(transport_rig& on) {
    const std::vector<std::string> paths{"/", "/v1/chat", "/a%2Fb/%E2%82%AC/./c", "/with,;=@:$!"};
    for (const std::string& path : paths) {
        const auto ask = on.ask("GET", path);
        const std::string wanted = ask.target().target();
        auto got = co_await exchange(on.transport(), ask);
        if (auto found = brings(got, 200, "pong"); !found.passed()) co_return found;
        const auto arrived = on.server.log().back();
        if (arrived.target != wanted)
            co_return finding("the path " + wanted + " arrived as " + arrived.target);
        const auto host = arrived.fields.get("Host");
        if (!host || "http://" + std::string(*host) != on.server.origin())
            co_return finding("Host should be that of the URL, with its port");
    }
    co_return finding();
}

inline task<finding> sends_headers(transport_rig& on) {
    auto ask = on.ask("POST", "/p", bytes::literal("{}"));
    ask.fields().add("X-Tag", "one").add("X-Empty", "").add("x-tag", "two").add("X-Tag", "a, b;c");
    auto got = co_await exchange(on.transport(), ask);
    if (auto found = brings(got, 200, "pong"); !found.passed()) co_return found;
    const auto arrived = on.server.log().back().fields;
    std::string tags, unasked;
    for (const auto [name, value] : arrived) {
        if (same_ignoring_case(name, "x-tag")) tags.append(value).append("|");
        const std::string_view known[] = {"x-tag",          "x-empty",    "authorization",  "host",
                                          "content-length", "connection", "accept-encoding"};
        const auto is = [&](std::string_view one) { return same_ignoring_case(name, one); };
        if (std::none_of(std::begin(known), std::end(known), is)) unasked.append(" ").append(name);
    }
    if (tags != "one|two|a, b;c|")
        co_return finding("headers of one name must arrive in their order: " + tags);
    if (!arrived.contains("X-Empty")) co_return finding("a header without a value got lost");
    if (arrived.get("Authorization") != ask.fields().get("Authorization"))
        co_return finding("a header's value changed on its way");
    if (arrived.get("Content-Length") != "2") co_return finding("Content-Length is not 2");
    if (!unasked.empty()) co_return finding("headers were sent that nobody asked for:" + unasked);
    co_return finding();
}

inline task<finding> refuses_headers(transport_rig& on) {
    using namespace std::string_literals;
    const std::vector<std::pair<std::string, std::string>> bad{{"X-Key", "s3cr3t\r\nX-Other: y"},
                                                               {"X-Key", "s3cr3t\n"},
                                                               {"X-Key", "s3cr3t\r"},
                                                               {"X-Key", "s3cr3t\0"s},
                                                               {"X Key", "s3cr3t"},
                                                               {"X-Key:", "s3cr3t"},
                                                               {"X-Key\r\nX-Other", "s3cr3t"},
                                                               {"", "s3cr3t"},
                                                               {"Content-Length", "7"},
                                                               {"Transfer-Encoding", "chunked"}};
    for (const auto& [name, value] : bad) {
        auto ask = on.ask("POST", "/p", bytes::literal("{}"));
        ask.fields().add(name, value);
        auto got = co_await exchange(on.transport(), ask);
        auto found = fails(got, {error_kind::invalid_request});
        if (!found.passed()) co_return finding("header '" + name + "': " + found.text());
    }
    co_return expect(on.server.connections() == 0, "it connected before it looked at the headers");
}

inline task<finding> takes_early_answer(transport_rig& on) {
    auto got =
        co_await exchange(on.transport(), on.ask("POST", "/p", bytes(std::string(16 << 20, 'x'))));
    co_return brings(got, 413, "");
}

inline void add_request_checks(testing::transport_check_list& all, bool early) {
    const auto add = [&all](std::string name, task<finding> (*check)(transport_rig&)) {
        all.emplace_back(std::move(name), [check](const testing::transport_maker& make) {
            transport_rig rig(make, conformance_pong);
            return rig.run(check(rig));
        });
    };
    add("methods arrive as they are", sends_methods);
    add("bodies of any size arrive byte for byte, with their length", sends_bodies);
    add("path, query and Host arrive as the URL says", sends_targets);
    add("headers arrive in their order, and no others", sends_headers);
    add("headers that could smuggle something are refused before anything is sent",
        refuses_headers);
    if (!early) return;
    all.emplace_back("an answer that comes before the whole body was sent is taken",
                     [](const testing::transport_maker& make) {
                         transport_rig rig(make, conformance_pong, {.max_body = 1000});
                         return rig.run(takes_early_answer(rig));
                     });
}

}  // namespace llmkit::detail
