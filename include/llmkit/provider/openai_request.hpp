// llmkit/provider/openai_request.hpp: write a call as the HTTP request that OpenAI's API wants.
#pragma once

#include <cstdint>
#include <cstdlib>
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
    explicit openai_call(http_request made) : http(std::move(made)), where(http.where()) {}

    http_request http;
    std::string where;
    openai_body body;
    bool streamed = false;
    bool answers = false;  ///< a known operation: its answer is JSON, and `error` in it is one
    secrets hidden;
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
        origin_ = base_ ? "openai " + base_->origin() + base_->path() : "openai";

        if (options_.source() == openai_options::key_source::environment) {
            key_ = variable(options_.key_text().c_str());
        } else if (options_.source() == openai_options::key_source::text) {
            key_ = options_.key_text();
        }
    }

    const std::string& origin() const { return origin_; }
    const openai_options& options() const { return options_; }

    /// Everything that can be refused without asking anybody is refused here.
    result<openai_call> prepare(const request& ask) const {
        if (!problem_.empty()) return error(error_kind::configuration, problem_);
        std::string why;
        auto target = base_->join(ask.operation(), why);
        if (!target) {
            return error(error_kind::invalid_request, "the operation cannot be called: " + why);
        }
        const std::string method = ask.body().empty() ? "GET" : "POST";
        const std::string where = method + ' ' + target->origin() + target->path();
        const std::string_view operation =
            std::string_view(ask.operation()).substr(0, ask.operation().find('?'));
        const bool streamed =
            ask.options().streamed && !ask.body().empty() && operation != "embeddings";
        openai_body body;
        if (!ask.body().empty() && !write_openai_body(ask, streamed, options_.model(), body)) {
            return error(error_kind::invalid_request, "the request's body is not a JSON object")
                .with_where(where);
        }
        std::string key;
        if (auto found = find_key(key); !found) return found.error().with_where(where);
        headers fields;
        secrets hidden;
        if (auto sound = write_fields(ask, streamed, key, fields, hidden); !sound) {
            return sound.error().with_where(where);
        }
        openai_call call(http_request(method, std::move(*target), std::move(fields), body.text));
        call.body = std::move(body);
        call.hidden = std::move(hidden);
        call.streamed = streamed;
        call.answers = operation == "chat/completions" || operation == "completions" ||
                       operation == "embeddings";
        if (!streamed) call.http.max_body = options_.max_body();
        call.http.connect = ask.options().connect;
        call.http.first_event = ask.options().first_event;
        call.http.idle = ask.options().idle;
        return call;
    }

private:
    static std::string variable(const char* name) {
        const char* value = std::getenv(name);
        return value ? value : "";
    }
    result<void> find_key(std::string& key) const {
        using source = openai_options::key_source;
        if (options_.source() == source::none) return {};
        if (options_.source() == source::function) {
            try {
                key = options_.key_function()();
            } catch (...) {  // what it says might hold the key
                return error(error_kind::configuration, "the function that gives the key threw");
            }
            if (key.empty()) {
                return error(error_kind::configuration,
                             "the function that gives the key gave none");
            }
            return {};
        }
        key = key_;
        if (!key.empty()) return {};
        if (options_.source() == source::text) {
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

    result<void> write_fields(const request& ask, bool streamed, const std::string& key,
                              headers& fields, secrets& hidden) const {
        fields.reserve(8, 512);
        if (!ask.body().empty()) fields.add("Content-Type", "application/json");
        fields.add("Accept", streamed ? "text/event-stream" : "application/json");
        if (!key.empty()) {
            if (options_.key_header().empty()) {
                fields.add("Authorization", "Bearer " + key);
            } else {
                fields.add(options_.key_header(), key);
            }
            if (std::string why = fields.problem(); !why.empty()) {
                return error(error_kind::configuration, "the API key cannot be sent: " + why);
            }
            hidden.add(key);
        }
        const auto& options = ask.options();
        if (!options.idempotency_key().empty()) {
            fields.add("Idempotency-Key", options.idempotency_key());
        } else if (options.attempt_key != key128()) {
            fields.add("Idempotency-Key", to_hex(options.attempt_key));
        }
        for (const auto* more : {&options_.headers(), &options.headers()}) {
            for (const auto& [name, value] : *more) fields.remove(name);
            for (const auto& [name, value] : *more) {
                fields.add(name, value);
                if (mentions(lower_case(name), "auth", "key", "token", "secret", "cookie")) {
                    hidden.add(value);
                }
            }
        }
        if (std::string why = fields.problem(); !why.empty()) {
            return error(error_kind::invalid_request, std::move(why));
        }
        return {};
    }

    openai_options options_;
    std::optional<url> base_;
    std::string problem_, origin_, key_;
};

}  // namespace llmkit::detail
