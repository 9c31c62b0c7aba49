#include <llmkit/testing/transport_conformance.hpp>

#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <vector>

#include <llmkit/transport/http.hpp>

#include "test.hpp"

namespace test_testing_transport_conformance {

using namespace llmkit;
using namespace llmkit::testing;

namespace {

/// Ways of breaking a promise.
enum class breach {
    none,
    swallows_failures,
    tells_secrets,
    forgets_where,
    adds_a_header,
    reorders_headers,
    reads_ahead,
    asks_twice,
    forgets_its_end,
    ignores_size_limit,
    never_reuses,
    turns_failures_round,
    passes_cancellation_as_error,
    tells_another_time,
    changes_the_method,
    drops_the_query,
    loses_bytes,
    changes_the_status,
    reorders_answers,
    misnames_failures,
    ends_with_finish,
};

headers turned(const headers& fields) {
    headers out;
    for (std::size_t i = fields.size(); i-- > 0;) out.add(fields[i].name, fields[i].value);
    return out;
}
error misnamed(const error& why) {
    return error(error_kind::internal, std::string(why.message())).with_where("somewhere");
}

class breaching_body final : public http_body {
public:
    breaching_body(http_response from, breach how, std::shared_ptr<bool> finished)
        : from_(std::move(from)), how_(how), finished_(std::move(finished)) {}

    task<result<bytes>> read() override {
        if (ended_ && how_ == breach::forgets_its_end) co_return bytes::literal("again");
        auto piece = co_await from_.read();
        ended_ = ended_ || !piece || piece->empty();
        if (!piece && how_ == breach::swallows_failures) co_return bytes();
        if (!piece && how_ == breach::misnames_failures) co_return misnamed(piece.error());
        if (!ended_ && how_ == breach::loses_bytes) {
            const bytes less(std::string(piece->view().substr(1)));
            co_return less;
        }
        co_return piece;
    }
    void finish() override { *finished_ = true; }

private:
    http_response from_;
    breach how_;
    std::shared_ptr<bool> finished_;
    bool ended_ = false;
};

/// `http`, but for one promise that it breaks.
class breaching {
public:
    breaching(const executor& on, breach how) : http_(http(on)), on_(on), how_(how) {}

    clock_handle clock() const {
        static asio::io_context elsewhere;
        return how_ == breach::tells_another_time ? clock_handle(elsewhere.get_executor())
                                                  : http_.clock();
    }
    task<result<http_response>> send(http_request ask) {
        return how_ == breach::never_reuses ? answer(http(on_), std::move(ask), how_, finished_)
                                            : answer(http_, std::move(ask), how_, finished_);
    }

private:
    static task<result<http_response>> answer(http_transport http, http_request ask, breach how,
                                              std::shared_ptr<bool> finished) {
        const std::string where = ask.where();
        if (*finished && how == breach::ends_with_finish)
            co_return error(error_kind::closed, "no more").with_where(where);
        if (how == breach::changes_the_method) ask = with(ask, "PUT", ask.target());
        if (how == breach::drops_the_query) ask = with(ask, ask.method(), without_query(ask));
        if (how == breach::adds_a_header) ask.fields().add("User-Agent", "me");
        if (how == breach::reorders_headers) ask.fields() = turned(ask.fields());
        if (how == breach::ignores_size_limit)
            ask.max_body = std::numeric_limits<std::uint64_t>::max();
        if (how == breach::asks_twice) {
            auto first = co_await http.send(ask);
            if (!first) co_return first.error();
        }
        const std::string query(ask.target().target());
        result<http_response> got;
        bool cancelled = false;
        try {
            got = co_await http.send(std::move(ask));
        } catch (const asio::system_error&) {
            cancelled = how == breach::passes_cancellation_as_error;
            if (!cancelled) throw;
        }
        if (cancelled) co_return error(error_kind::closed, "cancelled").with_where(where);
        if (!got) co_return spoilt(got.error(), query, how);
        if (how == breach::reads_ahead) {
            auto whole = co_await got->read_all();
            if (!whole) co_return whole.error();
            co_return http_response(got->status(), got->shared_fields(), bytes(std::move(*whole)));
        }
        const int status = how == breach::changes_the_status ? 299 : got->status();
        auto fields = got->shared_fields();
        if (how == breach::reorders_answers)
            fields = std::make_shared<const headers>(turned(*fields));
        auto body = std::make_unique<breaching_body>(std::move(*got), how, std::move(finished));
        co_return http_response(status, std::move(fields), std::move(body));
    }
    static http_request with(const http_request& ask, const std::string& method, const url& to) {
        http_request out(method, to, ask.fields(), ask.body());
        out.deadline = ask.deadline;
        out.connect = ask.connect;
        out.first_event = ask.first_event;
        out.idle = ask.idle;
        out.max_body = ask.max_body;
        return out;
    }
    static url without_query(const http_request& ask) {
        std::string why;
        const std::string whole(ask.target().text());
        return url::parse(whole.substr(0, whole.find('?')), why).value();
    }
    static error spoilt(const error& why, const std::string& query, breach how) {
        if (how == breach::tells_secrets)
            return error(why.kind(), "it failed: " + query).with_where("somewhere");
        if (how == breach::forgets_where) return why.with_where("");
        if (how == breach::turns_failures_round && why.kind() == error_kind::resolve)
            return error(error_kind::connect, "nobody there").with_where("somewhere");
        if (how == breach::misnames_failures) return misnamed(why);
        return why;
    }

    http_transport http_;
    executor on_;
    breach how_;
    std::shared_ptr<bool> finished_ = std::make_shared<bool>();
};

/// What is found out of a breach by which checks.
const std::map<breach, std::vector<std::string_view>> breaches = {
    {breach::swallows_failures,
     {"a body shorter than it was announced is no success",
      "a body reset in the middle is no success", "a chunked body without its end is no success",
      "a chunk that is cut is no success", "what is no chunk is an error of kind protocol",
      "a body that stalls is given up by the idle limit", "the deadline holds while nobody reads",
      "closing the call's pipeline ends a wait for the body",
      "after a cancelled read the body is an error"}},
    {breach::tells_secrets,
     {"a connection reset before the head is lost", "a head that is cut is no success"}},
    {breach::forgets_where,
     {"a port where nobody listens is an error of kind connect",
      "headers that could smuggle something are refused before anything is sent"}},
    {breach::turns_failures_round, {"a host without an address is an error of kind resolve"}},
    {breach::adds_a_header, {"headers arrive in their order, and no others"}},
    {breach::reorders_headers, {"headers arrive in their order, and no others"}},
    {breach::reads_ahead, {"a slow reader slows the server, and nothing piles up"}},
    {breach::asks_twice,
     {"every status is an answer, and none is followed or repeated",
      "two hundred calls at once are all served", "calls may come from several threads",
      "a connection that the server closed meanwhile costs no call"}},
    {breach::forgets_its_end,
     {"answers of any size come back byte for byte",
      "a transport can be dropped with a call in flight",
      "an answer that comes before the whole body was sent is taken"}},
    {breach::ignores_size_limit, {"an announced body over max_body is refused"}},
    {breach::never_reuses, {"a connection serves the next call"}},
    {breach::passes_cancellation_as_error,
     {"cancelling a call that connects ends it",
      "cancelling a call that waits for its head frees its connection",
      "a call can be cancelled at every point and leaves nothing behind"}},
    {breach::tells_another_time, {"the transport's clock is that of its executor"}},
    {breach::changes_the_method, {"methods arrive as they are"}},
    {breach::drops_the_query, {"path, query and Host arrive as the URL says"}},
    {breach::loses_bytes,
     {"bodies of any size arrive byte for byte, with their length",
      "answers of any size come back byte for byte",

      "a body of many small pieces comes whole", "interim answers are skipped",
      "chunk extensions and trailers are read over",
      "a body without a length lasts until the connection ends",
      "an answer of HTTP/1.0 is understood"}},
    {breach::changes_the_status,
     {"an answer to HEAD has no body, whatever it announces",
      "a chunked body without content is empty",
      "a 204 ends at its head, whatever comes behind it"}},
    {breach::reorders_answers, {"an answer's headers come in their order"}},
    {breach::misnames_failures,
     {"a connection closed before the head is lost", "what is no HTTP is an error of kind protocol",
      "an answer of two lengths is an error of kind protocol",
      "a folded header is an error of kind protocol", "a chunked body over max_body is refused",
      "a body until close over max_body is refused", "a head of too many headers is refused",
      "a head with an endless header is refused",
      "a silent server is given up by the first-event limit",
      "a silent server is given up by the deadline",
      "a body that stalls is given up by the deadline",
      "a body that trickles is given up by the deadline", "a deadline that has passed is a timeout",
      "closing the call's pipeline ends a wait for the head",
      "connecting is given up by the connect limit and by the deadline"}},
    {breach::ends_with_finish,
     {"after finish() there is nothing to read, and the next call is served"}},
};

/// Which take all the patience there is to find something; or a sanitizer, the last.
const std::set<std::string_view> patient = {
    "an event is delivered while the next is awaited",
    "cancelling a call that reads its body frees its connection",
    "dropping an answer before it is read frees its connection",
    "dropping an answer in the middle frees its connection",
    "an answer may outlive its transport and its io_context",
    "the io_context can be dropped at every point of a call",
};

}  // namespace

// [quote:suite]
TEST_CASE("http conforms to the concept", "[conformance]") {
    static const auto checks = transport_checks();
    for (const auto& check : checks) {
        DYNAMIC_SECTION(check.name()) {
            const auto found = check.run([](const executor& on) { return http(on); });
            INFO(found.text());
            CHECK(found.passed());
        }
    }
}
// [quote:suite]

TEST_CASE("a transport that breaks a promise is found out", "[conformance]") {
    static const auto checks = transport_checks();
    std::set<std::string_view> seen = patient;
    for (const auto& [how, names] : breaches) {
        for (const std::string_view name : names) {
            INFO(name);
            const auto check =
                std::find_if(checks.begin(), checks.end(),
                             [wanted = name](const auto& one) { return one.name() == wanted; });
            REQUIRE(check != checks.end());
            const auto make = [which = how](const executor& on) { return breaching(on, which); };
            CHECK(check->run(make).text() != "");
            seen.insert(name);
        }
    }
    for (const auto& check : checks) {
        INFO(check.name());
        CHECK(seen.count(check.name()) == 1);  // somebody fails it
        const auto make = [](const executor& on) { return breaching(on, breach::none); };
        CHECK(check.run(make).text() == "");
    }
}

TEST_CASE("what a transport does not claim is not checked", "[conformance]") {
    const auto all = transport_checks();
    const auto few = transport_checks({.http1_framing = false,
                                       .strict_framing = false,
                                       .reuses_connections = false,
                                       .early_answers = false,
                                       .many_threads = false});
    CHECK(few.size() < all.size());
    std::set<std::string> names;
    for (const auto& check : all) names.insert(check.name());
    CHECK(names.size() == all.size());
    for (const auto& check : few) CHECK(names.count(check.name()) == 1);
}

}  // namespace test_testing_transport_conformance
