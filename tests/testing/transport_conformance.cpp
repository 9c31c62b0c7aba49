#include <llmkit/testing/transport_conformance.hpp>

#include <set>

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
};

class breaching_body final : public http_body {
public:
    breaching_body(http_response from, breach how) : from_(std::move(from)), how_(how) {}

    task<result<bytes>> read() override {
        if (ended_ && how_ == breach::forgets_its_end) co_return bytes::literal("again");
        auto piece = co_await from_.read();
        ended_ = ended_ || !piece || piece->empty();
        if (!piece && how_ == breach::swallows_failures) co_return bytes();
        co_return piece;
    }

private:
    http_response from_;
    breach how_;
    bool ended_ = false;
};

/// `http`, but for one promise that it breaks.
class breaching {
public:
    breaching(const executor& on, breach how) : http_(http(on)), on_(on), how_(how) {}

    clock_handle clock() const { return http_.clock(); }
    task<result<http_response>> send(http_request ask) {
        return how_ == breach::never_reuses ? answer(http(on_), std::move(ask), how_)
                                            : answer(http_, std::move(ask), how_);
    }

private:
    static task<result<http_response>> answer(http_transport http, http_request ask, breach how) {
        const std::string where = ask.where();
        if (how == breach::adds_a_header) ask.fields().add("User-Agent", "me");
        if (how == breach::reorders_headers) {
            headers turned;
            for (std::size_t i = ask.fields().size(); i-- > 0;)
                turned.add(ask.fields()[i].name, ask.fields()[i].value);
            ask.fields() = turned;
        }
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
        const int status = got->status();
        auto fields = got->shared_fields();
        co_return http_response(status, std::move(fields),
                                std::make_unique<breaching_body>(std::move(*got), how));
    }
    static error spoilt(const error& why, const std::string& query, breach how) {
        if (how == breach::tells_secrets)
            return error(why.kind(), "it failed: " + query).with_where("somewhere");
        if (how == breach::forgets_where) return why.with_where("");
        if (how == breach::turns_failures_round && why.kind() == error_kind::resolve)
            return error(error_kind::connect, "nobody there").with_where("somewhere");
        return why;
    }

    http_transport http_;
    executor on_;
    breach how_;
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
    const std::pair<breach, const char*> breaches[] = {
        {breach::swallows_failures, "a body shorter than it was announced is no success"},
        {breach::swallows_failures, "a chunked body without its end is no success"},
        {breach::swallows_failures, "a body that stalls is given up by the idle limit"},
        {breach::tells_secrets, "a connection reset before the head is lost"},
        {breach::forgets_where, "a port where nobody listens is an error of kind connect"},
        {breach::turns_failures_round, "a host without an address is an error of kind resolve"},
        {breach::adds_a_header, "headers arrive in their order, and no others"},
        {breach::reorders_headers, "headers arrive in their order, and no others"},
        {breach::reads_ahead, "a slow reader slows the server, and nothing piles up"},
        {breach::asks_twice, "every status is an answer, and none is followed or repeated"},
        {breach::asks_twice, "two hundred calls at once are all served"},
        {breach::forgets_its_end, "answers of any size come back byte for byte"},
        {breach::ignores_size_limit, "an announced body over max_body is refused"},
        {breach::never_reuses, "a connection serves the next call"},
        {breach::passes_cancellation_as_error, "cancelling a call that connects ends it"},
    };
    static const auto checks = transport_checks();
    for (const auto& [how, name] : breaches) {
        INFO(name);
        const auto same = [wanted = name](const auto& one) { return one.name() == wanted; };
        const auto check = std::find_if(checks.begin(), checks.end(), same);
        REQUIRE(check != checks.end());
        const auto make = [](breach which) {
            return [which](const executor& on) { return breaching(on, which); };
        };
        CHECK(check->run(make(breach::none)).text() == "");
        CHECK(check->run(make(how)).text() != "");
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
