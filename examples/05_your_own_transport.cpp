// A transport of your own: everything above it, layers included, works as it is.
//
// This one needs no network: it reads its answers aloud from a text. Yours might speak over a pipe
// to a model in another process, or write down what another transport sends.
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <llmkit/llmkit.hpp>

using namespace std::chrono_literals;

namespace {

// [quote:transport]
class reading_aloud {
public:
    reading_aloud(const llmkit::executor& where, std::string text)
        : time_(where), text_(std::make_shared<const std::string>(std::move(text))) {}

    llmkit::clock_handle clock() const { return time_; }

    llmkit::task<llmkit::result<llmkit::http_response>> send(llmkit::http_request ask) {
        return answer(time_, text_, std::move(ask));
    }

private:
    // The body of an answer: one server-sent event a word, pulled by whoever reads.
    class words final : public llmkit::http_body {
    public:
        words(llmkit::clock_handle time, std::shared_ptr<const std::string> text,
              llmkit::limit deadline)
            : time_(std::move(time)), text_(std::move(text)), deadline_(deadline) {}

        llmkit::task<llmkit::result<llmkit::bytes>> read() override {
            // Every wait ends at the deadline, and when the pipeline is closed.
            const auto next = deadline_.earliest(llmkit::after(time_.now(), 20ms));
            if (co_await llmkit::sleep_until(time_, next) == llmkit::woke::by_close) {
                co_return llmkit::error(llmkit::error_kind::closed, "the pipeline was closed");
            }
            if (time_.now() >= deadline_.effective()) {
                co_return llmkit::error(llmkit::error_kind::timeout, "reading took too long");
            }
            if (at_ == text_->size()) {
                at_ = std::string::npos;
                co_return llmkit::bytes::literal("data: [DONE]\n\n");
            }
            if (at_ == std::string::npos) co_return llmkit::bytes();  // the end
            const std::size_t end = std::min(text_->find(' ', at_ + 1), text_->size());
            const nlohmann::json word = text_->substr(at_, end - at_);
            at_ = end;
            co_return llmkit::bytes(fmt::format(
                "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{}}}}}]}}\n\n",
                word.dump()));
        }

    private:
        llmkit::clock_handle time_;
        std::shared_ptr<const std::string> text_;
        llmkit::limit deadline_;
        std::size_t at_ = 0;
    };

    // By value: the task outlives the call, and may outlive this handle.
    static llmkit::task<llmkit::result<llmkit::http_response>> answer(
        llmkit::clock_handle time, std::shared_ptr<const std::string> text,
        llmkit::http_request ask) {
        auto fields = std::make_shared<llmkit::headers>();
        fields->add("Content-Type", "text/event-stream");
        auto body = std::make_unique<words>(time, text, ask.deadline);
        co_return llmkit::http_response(200, std::move(fields), std::move(body));
    }

    llmkit::clock_handle time_;
    std::shared_ptr<const std::string> text_;
};
static_assert(llmkit::transport<reading_aloud>);
// [quote:transport]

llmkit::task<void> read_to_me() {
    reading_aloud book(co_await asio::this_coro::executor,
                       "It was a bright cold day in April, and the clocks were striking thirteen.");
    auto provider = llmkit::openai(book, llmkit::openai_options().no_key());
    auto client = llmkit::pipeline(provider) | llmkit::retry();

    auto stream = co_await client.stream(llmkit::chat_request("book").user("Read to me"));
    while (auto delta = co_await stream.next()) {
        fmt::print("{}", delta.text());
        std::fflush(stdout);
    }
    fmt::print("\n");
    if (stream.failed()) fmt::print("{}\n", stream.error());

    // The provider folds the same stream into one answer for those who want it whole.
    auto answer = co_await client.chat(llmkit::chat_request("book").user("Read to me"));
    fmt::print("{}\n", answer.value().text());

    // The deadline holds in your transport as well.
    auto hasty = co_await client.chat(llmkit::chat_request("book").user("Quick!").timeout(50ms));
    fmt::print("{}\n", hasty.error());
}

}  // namespace

int main() { return llmkit::run(read_to_me()); }
