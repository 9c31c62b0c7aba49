// llmkit/transport/gzip.hpp: answers that come compressed, over any transport.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/bytes.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/detail/http_chars.hpp>
#include <llmkit/transport/concept.hpp>
#include <llmkit/transport/gzip_decoder.hpp>

namespace llmkit {

/// Bounds of `gzip`. A request may ask for less.
///
/// Trivially destructible, so it is safe in `co_await` expressions with g++ 12 as well.
struct gzip_policy {
    std::uint64_t max_body = 64ULL * 1024 * 1024;  ///< bytes of an answer once it is decoded
};
static_assert(std::is_trivially_destructible_v<gzip_policy>);

namespace detail {

/// How an answer's body is coded.
enum class content_coding : std::uint8_t { none, gzip, other };

inline content_coding coding_of(const headers& fields) {
    content_coding found = content_coding::none;
    for (const auto [name, value] : fields) {
        if (!same_ignoring_case(name, "content-encoding")) continue;
        each_in_list(value, [&found](std::string_view word) {
            if (same_ignoring_case(word, "identity")) return true;
            const bool known =
                same_ignoring_case(word, "gzip") || same_ignoring_case(word, "x-gzip");
            const bool alone = found == content_coding::none;
            found = known && alone ? content_coding::gzip : content_coding::other;
            return true;
        });
    }
    return found;
}

/// A body that is decoded as its reader pulls.
class gzip_body final : public http_body {
public:
    gzip_body(http_response from, std::uint64_t max_body, std::string where)
        : from_(std::move(from)), max_body_(max_body), where_(std::move(where)) {}

    task<result<bytes>> read() override {
        for (;;) {
            if (failed_) co_return *failed_;
            if (ended_) co_return bytes();
            const std::size_t count = decoder_.take(room_.data(), room_.size());
            if (count > max_body_ - count_) {
                fail(error_kind::too_large,
                     fmt::format("the answer's body is larger than the limit of {} bytes once it "
                                 "is decompressed",
                                 max_body_));
                continue;
            }
            count_ += count;
            if (count > 0) co_return bytes::copy({room_.data(), count});
            if (!decoder_.problem().empty()) {
                fail(error_kind::protocol, decoder_.problem());
                continue;
            }
            auto piece = co_await from_->read();
            if (!piece) {
                failed_ = piece.error();
                from_.reset();
            } else if (!piece->empty()) {
                coded_ = std::move(*piece);
                decoder_.feed(coded_.view());
            } else if (decoder_.complete()) {
                ended_ = true;
            } else {
                fail(error_kind::truncated, "the answer's gzip data stops in the middle");
            }
        }
    }
    void finish() override {
        if (from_) from_->finish();
    }

private:
    void fail(error_kind kind, std::string what) {
        failed_ = error(kind, std::move(what)).with_where(where_);
        from_.reset();  // whatever still comes is of no use
    }

    std::optional<http_response> from_;
    const std::uint64_t max_body_;
    const std::string where_;
    gzip_decoder decoder_;
    std::array<char, 16 * 1024> room_;
    bytes coded_;
    std::uint64_t count_ = 0;
    bool ended_ = false;
    std::optional<error> failed_;
};

}  // namespace detail

/// The transport that `gzip()` makes.
template <transport Over>
class gzip_transport {
public:
    gzip_transport(Over over, const gzip_policy& policy)
        : over_(std::move(over)), policy_(policy) {}

    clock_handle clock() const { return over_.clock(); }
    task<result<http_response>> send(http_request ask) {
        // Whoever names codings himself wants to see the answer as it comes.
        if (ask.fields().contains("Accept-Encoding")) return over_.send(std::move(ask));
        return decoded(over_, policy_, std::move(ask));
    }

    /// The transport below.
    const Over& over() const { return over_; }

private:
    static task<result<http_response>> decoded(Over over, gzip_policy policy, http_request ask) {
        ask.fields().add("Accept-Encoding", "gzip");
        const std::uint64_t max_body = std::min(policy.max_body, ask.max_body);
        const bool head = ask.method() == "HEAD";
        std::string where = ask.where();
        auto answer = co_await over.send(std::move(ask));
        if (!answer) co_return answer;
        const int status = answer->status();
        if (head || status == 204 || status == 304) co_return answer;
        const auto coding = detail::coding_of(answer->fields());
        if (coding == detail::content_coding::none) co_return answer;
        if (coding == detail::content_coding::other) {
            co_return error(error_kind::protocol,
                            "the answer is coded in another way than gzip, which alone was asked "
                            "for (its Content-Encoding)")
                .with_where(std::move(where))
                .with_advice("Mend the server or the proxy on the way, or do without gzip().");
        }
        headers fields = answer->fields();
        fields.remove("Content-Encoding");
        fields.remove("Content-Length");  // that of the coded body
        auto body =
            std::make_unique<detail::gzip_body>(std::move(*answer), max_body, std::move(where));
        co_return http_response(status, std::make_shared<const headers>(std::move(fields)),
                                std::move(body));
    }

    Over over_;
    gzip_policy policy_;
};

/// Asks for gzip and decodes what comes so; answers that come plain pass as they are.
///
///     #include <llmkit/transport/gzip.hpp>        // CMake target llmkit::gzip, needs zlib
///     auto transport = llmkit::gzip(llmkit::http(executor, llmkit::tls()));
///
/// Adds `Accept-Encoding: gzip` unless the request has an Accept-Encoding of its own: then nothing
/// is added and nothing decoded. A decoded answer has neither Content-Encoding nor Content-Length.
/// Decoding goes on as the body is pulled, so that what the server flushed, an event of a stream,
/// comes at once. Memory: 64 KiB an answer that comes so.
///
/// `max_body`, of the policy and of the request, bounds the decoded size: more is `too_large`. Data
/// that stops too early is `truncated`; broken data, data behind the gzip data, and a coding that
/// was not asked for (deflate and br among them) are `protocol`.
template <transport Over>
gzip_transport<Over> gzip(Over over, const gzip_policy& policy = {}) {
    return gzip_transport<Over>(std::move(over), policy);
}

}  // namespace llmkit
