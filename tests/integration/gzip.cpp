#include <llmkit/transport/gzip.hpp>

#include "integration/nginx.hpp"

#include <llmkit/testing/http_server.hpp>
#include <llmkit/transport/http.hpp>

#include "test.hpp"
#include "transport/raw_server.hpp"

namespace test_integration_gzip {

using namespace llmkit;
using namespace llmkit_test;
using testing::server_reply;
using testing::server_request;

namespace {

task<void> fetch(gzip_transport<http_transport> client, url where, headers fields,
                 std::string& body, std::string& coding) {
    auto answer = co_await client.send(http_request("GET", where, std::move(fields)));
    REQUIRE(answer);
    coding = answer->fields().get("Content-Encoding").value_or("none");
    auto whole = co_await answer->read_all();
    REQUIRE(whole);
    body = *whole;
}

task<void> read_first(gzip_transport<http_transport> client, url where, std::string& first) {
    auto answer = co_await client.send(http_request("GET", where));
    REQUIRE(answer);
    CHECK(answer->fields().get("Content-Type") == "text/event-stream");
    auto piece = co_await answer->read();
    REQUIRE(piece);
    first = piece->view();
}

}  // namespace

TEST_CASE("nginx's compressed answers and streams are decoded", "[nginx]") {
    testing::http_server upstream(
        [](const server_request&) { return server_reply().event("one").stall(); });
    temporary_folder folder;
    std::string text;
    for (int i = 0; i < 50'000; ++i) text += std::to_string(i) + ", ";
    folder.write("files/large.json", text);
    const unsigned short port = free_port();
    nginx web(folder, "server { listen 127.0.0.1:" + std::to_string(port) +
                          "; gzip on; gzip_min_length 0; gzip_http_version 1.0;"
                          " gzip_types application/json text/event-stream;"
                          " root " +
                          folder.path().string() +
                          "/files;"
                          " location /stream { proxy_buffering off; proxy_http_version 1.1;"
                          " proxy_pass " +
                          upstream.origin() + "; } }\n");
    asio::io_context context;
    const auto client = gzip(http(context.get_executor()));
    const std::string base = "http://127.0.0.1:" + std::to_string(port);
    std::string why, body, coding;
    const auto file = *url::parse(base + "/large.json", why);

    // Seen from outside, it is compressed.
    headers own;
    own.add("Accept-Encoding", "gzip");
    run_test(context, fetch(client, file, own, body, coding));
    CHECK(coding == "gzip");
    CHECK(body.size() < text.size() / 2);

    run_test(context, fetch(client, file, {}, body, coding));
    CHECK(coding == "none");
    CHECK((body == text));

    run_test(context, read_first(client, *url::parse(base + "/stream", why), body));
    CHECK(body == "data: one\n\n");
    CHECK(upstream.log().at(0).fields.get("Accept-Encoding") == "gzip");
}

}  // namespace test_integration_gzip
