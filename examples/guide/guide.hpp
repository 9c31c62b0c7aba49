// What the steps of docs/guide.md share: the mail to be answered, and how it went.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <llmkit/llmkit.hpp>

// The mail of one morning: 120 messages. Every other one asks one of eight things that people keep
// asking.
inline std::vector<std::string> mail() {
    static constexpr const char* usual[] = {
        "Where is my parcel?",      "How do I send something back?",
        "Do you ship to Iceland?",  "May I pay by invoice?",
        "I forgot my password.",    "When will it be in stock again?",
        "Can I change my address?", "Is there a guarantee?",
    };
    std::vector<std::string> messages;
    for (int i = 0; i < 60; ++i) {
        messages.emplace_back(usual[i % 8]);
        messages.push_back(fmt::format("A question about order {}.", 4711 + i));
    }
    return messages;
}

inline llmkit::chat_request reply_to(const std::string& message) {
    return llmkit::chat_request("gpt-4o-mini")
        .system("You answer the mail of a small shop. Be brief and kind.")
        .user(message)
        .temperature(0);
}

// How it went, for the line at the end.
class tally {
public:
    using clock = std::chrono::steady_clock;

    // Call it when an answer begins to show; `asked` is when its question was sent.
    void first_words(clock::time_point asked) {
        until_first_words_ += clock::now() - asked;
        ++shown_;
    }
    void answered() { ++answered_; }
    void failed() { ++failed_; }

    std::string summary() const {
        const auto seconds = [](clock::duration span) {
            return std::chrono::duration<double>(span).count();
        };
        return fmt::format(
            "{} answered, {} failed, in {:.2f} s; first words after {:.3f} s on average", answered_,
            failed_, seconds(clock::now() - began_),
            shown_ == 0 ? 0 : seconds(until_first_words_) / shown_);
    }

private:
    clock::time_point began_ = clock::now();
    clock::duration until_first_words_{};
    int shown_ = 0, answered_ = 0, failed_ = 0;
};

// [quote:reply]
// Asks, shows the answer as it is written, and gives it when it is complete.
template <class Client>
llmkit::task<llmkit::result<std::string>> reply(Client client, tally& seen, std::string message) {
    const auto asked = tally::clock::now();
    auto stream = co_await client.stream(reply_to(message));
    std::string text;
    while (auto delta = co_await stream.next()) {
        if (text.empty() && !delta.text().empty()) seen.first_words(asked);
        text += delta.text();  // show(delta.text())
    }
    if (stream.failed()) co_return stream.error();
    co_return text;
}
// [quote:reply]

llmkit::task<void> step0(tally& seen);
llmkit::task<void> step1(tally& seen);
llmkit::task<void> step2(tally& seen, std::size_t connections);
llmkit::task<void> step3(tally& seen);
