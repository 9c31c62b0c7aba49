// llmkit/provider/openai_request.hpp: write a call as the HTTP request that OpenAI's API wants.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <llmkit/core/request.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/provider/openai_body.hpp>
#include <llmkit/provider/openai_error.hpp>
#include <llmkit/provider/openai_options.hpp>
#include <llmkit/transport/concept.hpp>

namespace llmkit::detail {

/// Texts that must never be shown.
class secrets {
public:
    void add(std::string text) {
        if (const auto space = text.rfind(' '); space != text.npos) add(text.substr(space + 1));
        all_.push_back(std::move(text));
    }
    /// Some servers quote the key that they refuse.
    std::string cleaned(std::string text) const {
        for (const std::string& one : all_) redact(text, one);
        return text;
    }

private:
    std::vector<std::string> all_;
};

/// One call ready to be sent, and what reading its answer needs to know.
struct openai_call {
    explicit openai_call(http_request made) : http(std::move(made)) {}

    http_request http;
    openai_body body;
    std::string key;  ///< where it may differ from call to call
    bool streamed = false;
    bool answers = false;  ///< a known operation: its answer is JSON, and `error` in it is one
};

/// A provider's configuration, resolved once and then only read.
class openai_setup {
public:
    explicit openai_setup(openai_options options) : options_(std::move(options)) {
        std::string base = options_.base_url();
        const char* named_by = "the base URL";
        if (base.empty()) {
            base = variable("OPENAI_BASE_URL");
            named_by = "OPENAI_BASE_URL";
        }
        if (base.empty()) base = "https://api.openai.com/v1";
        if (!options_.api_version().empty()) {
            base += base.find('?') == base.npos ? '?' : '&';
            base += "api-version=" + options_.api_version();
        }
        std::string why;
        base_ = url::parse(base, why);
        if (!base_) problem_ = fmt::format("{} cannot be used: {}", named_by, why);
        origin_ = std::make_shared<const std::string>(
            base_ ? "openai " + base_->origin() + base_->path() : "openai");
        for (const char* known : {"chat/completions", "completions", "embeddings"}) {
            if (auto target = base_ ? base_->join(known, why) : std::nullopt) {
                routes_.emplace_back(known, std::move(*target));
            }
        }

        using source = openai_options::key_source;
        std::string key;
        if (options_.source() == source::environment) key = variable(options_.key_text().c_str());
        if (options_.source() == source::text) key = options_.key_text();
        no_key_ = key.empty() &&
                  (options_.source() == source::environment || options_.source() == source::text);
        key_ = read_key(std::move(key));
    }

    const std::string& origin() const { return *origin_; }
    const std::shared_ptr<const std::string>& shared_origin() const { return origin_; }
    const openai_options& options() const { return options_; }

    /// Everything that can be refused without asking anybody is refused here.
    result<openai_call> prepare(const request& ask) const {
        if (!problem_.empty()) return error(error_kind::configuration, problem_);
        const std::string_view operation = path_of(ask);
        const url* const known = route(ask.operation());
        std::optional<url> other;
        if (!known) {
            std::string why;
            other = base_->join(ask.operation(), why);
            if (!other) {
                return error(error_kind::invalid_request, "the operation cannot be called: " + why);
            }
        }
        const bool streamed =
            ask.options().streamed && !ask.body().empty() && operation != "embeddings";
        openai_body body;
        if (!ask.body().empty() && !write_openai_body(ask, streamed, options_.model(), body)) {
            return error(error_kind::invalid_request, "the request's body is not a JSON object")
                .with_where(where(ask));
        }
        headers fields;
        std::string key;
        if (auto sound = write_fields(ask, streamed, fields, key); !sound) {
            return sound.error().with_where(where(ask));
        }
        result<openai_call> call(openai_call(
            http_request(method_of(ask), known ? *known : *other, std::move(fields), body.text)));
        call->body = std::move(body);
        call->key = std::move(key);
        call->streamed = streamed;
        call->answers = route(operation) != nullptr;
        if (!streamed) call->http.max_body = options_.max_body();
        call->http.connect = ask.options().connect;
        call->http.first_event = ask.options().first_event;
        call->http.idle = ask.options().idle;
        return call;
    }

    /// "POST https://api.openai.com/v1/chat/completions": for messages.
    std::string where(const request& ask) const {
        std::string why;
        const auto target = base_ ? base_->join(ask.operation(), why) : std::nullopt;
        return target ? method_of(ask) + ' ' + target->origin() + target->path() : std::string();
    }
    /// What must not be shown of a call that was sent with this key.
    secrets hidden(const request& ask, const std::string& key) const {
        secrets all;
        for (const std::string& one : {key, key_.bare}) {
            if (!one.empty()) all.add(one);
        }
        for (const auto* more : {&options_.headers(), &ask.options().headers()}) {
            for (const auto& [name, value] : *more) {
                if (mentions(lower_case(name), "auth", "key", "token", "secret", "cookie")) {
                    all.add(value);
                }
            }
        }
        return all;
    }

private:
    static std::string variable(const char* name) {
        const char* value = std::getenv(name);
        return value ? value : "";
    }
    static std::string method_of(const request& ask) { return ask.body().empty() ? "GET" : "POST"; }
    static std::string_view path_of(const request& ask) {
        return std::string_view(ask.operation()).substr(0, ask.operation().find('?'));
    }
    const url* route(std::string_view operation) const {
        for (const auto& [name, target] : routes_) {
            if (name == operation) return &target;
        }
        return nullptr;
    }

    /// A key, and the field it is sent in.
    struct sent_key {
        std::string bare, name, value;
        std::string problem;  ///< why it cannot be sent
    };
    sent_key read_key(std::string key) const {
        sent_key sent;
        if (key.empty()) return sent;
        const bool bearer = options_.key_header().empty();
        sent.name = bearer ? "Authorization" : options_.key_header();
        sent.value = bearer ? "Bearer " + key : key;
        sent.problem = headers::problem(sent.name, sent.value);
        sent.bare = std::move(key);
        return sent;
    }

    error missing_key() const {
        if (options_.source() == openai_options::key_source::text) {
            return error(error_kind::configuration, "the API key is empty")
                .with_advice("Pass a key, or no_key() for a server that needs none.");
        }
        return error(error_kind::configuration,
                     fmt::format("no API key: the environment variable {} is not set",
                                 options_.key_text()))
            .with_advice(fmt::format("Set {}, pass a key, or say no_key() for a server that needs "
                                     "none.",
                                     options_.key_text()));
    }
    result<sent_key> asked_key() const {
        std::string key;
        try {
            key = options_.key_function()();
        } catch (...) {  // what it says might hold the key
            return error(error_kind::configuration, "the function that gives the key threw");
        }
        if (key.empty()) {
            return error(error_kind::configuration, "the function that gives the key gave none");
        }
        return read_key(std::move(key));
    }

    /// `key` becomes one that was asked for.
    result<void> write_fields(const request& ask, bool streamed, headers& fields,
                              std::string& key) const {
        if (no_key_) return missing_key();
        fields.reserve(8, 512);
        if (!ask.body().empty()) fields.add("Content-Type", "application/json");
        fields.add("Accept", streamed ? "text/event-stream" : "application/json");
        if (options_.source() == openai_options::key_source::function) {
            auto asked = asked_key();
            if (!asked) return asked.error();
            if (auto sound = add_key(*asked, fields); !sound) return sound;
            key = std::move(asked->bare);
        } else if (auto sound = add_key(key_, fields); !sound) {
            return sound;
        }
        const auto& options = ask.options();
        if (!options.idempotency_key().empty()) {
            fields.add("Idempotency-Key", options.idempotency_key());
        } else if (options.attempt_key != key128()) {
            const auto digits = hex_digits(options.attempt_key);
            fields.add("Idempotency-Key", {digits.data(), digits.size()});
        }
        for (const auto* more : {&options_.headers(), &options.headers()}) {
            for (const auto& [name, value] : *more) fields.remove(name);
            for (const auto& [name, value] : *more) fields.add(name, value);
        }
        // Without a user's texts there is nothing in them that was not looked at before.
        const bool foreign = !options.idempotency_key().empty() || !options.headers().empty() ||
                             !options_.headers().empty();
        if (std::string why = foreign ? fields.problem() : std::string(); !why.empty()) {
            return error(error_kind::invalid_request, std::move(why));
        }
        return {};
    }
    static result<void> add_key(const sent_key& key, headers& fields) {
        if (!key.problem.empty()) {
            return error(error_kind::configuration, "the API key cannot be sent: " + key.problem);
        }
        if (!key.bare.empty()) fields.add(key.name, key.value);
        return {};
    }

    openai_options options_;
    std::optional<url> base_;
    std::vector<std::pair<std::string, url>> routes_;  // of the operations whose answers are known
    std::string problem_;
    std::shared_ptr<const std::string> origin_;
    sent_key key_;
    bool no_key_ = false;
};

}  // namespace llmkit::detail
