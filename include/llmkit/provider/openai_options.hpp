// llmkit/provider/openai_options.hpp: where an OpenAI-like API is, and what opens it.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/core/provenance.hpp>

namespace llmkit {

/// How to reach a provider that speaks OpenAI's API.
///
///     openai(http);  // OPENAI_API_KEY, api.openai.com
///     openai(http, openai_options().base_url("http://localhost:8080/v1").no_key());
///     openai(http, openai_options()
///                      .base_url("https://acme.openai.azure.com/openai/deployments/gpt-4o")
///                      .key_from("AZURE_OPENAI_API_KEY")
///                      .azure("2024-10-21"));
///
/// Unless told otherwise the base URL is `OPENAI_BASE_URL` or https://api.openai.com/v1, and the
/// key is `OPENAI_API_KEY`. The environment is read once, when the provider is made. What is wrong
/// here is an error of kind `configuration` of every call, so that a program without a key still
/// starts.
class openai_options {
public:
    openai_options() {}

    /// An http or https URL; operations such as "chat/completions" are appended to its path. A
    /// query is sent with every call.
    openai_options& base_url(std::string text) & { return base_url_ = std::move(text), *this; }
    openai_options&& base_url(std::string text) && { return std::move(base_url(std::move(text))); }

    /// The key itself.
    openai_options& key(std::string text) & {
        source_ = key_source::text;
        return key_ = std::move(text), *this;
    }
    openai_options&& key(std::string text) && { return std::move(key(std::move(text))); }
    /// The name of an environment variable that holds the key.
    openai_options& key_from(std::string variable) & {
        source_ = key_source::environment;
        return key_ = std::move(variable), *this;
    }
    openai_options&& key_from(std::string variable) && {
        return std::move(key_from(std::move(variable)));
    }
    openai_options& key_from(const char* variable) & { return key_from(std::string(variable)); }
    openai_options&& key_from(const char* variable) && { return std::move(key_from(variable)); }
    /// Asked for the key at every call, for keys that change. It must be quick and thread-safe; an
    /// empty key or an exception fails the call.
    openai_options& key_from(std::function<std::string()> ask) & {
        source_ = key_source::function;
        return ask_ = std::move(ask), *this;
    }
    openai_options&& key_from(std::function<std::string()> ask) && {
        return std::move(key_from(std::move(ask)));
    }
    /// For servers that need none.
    openai_options& no_key() & { return source_ = key_source::none, *this; }
    openai_options&& no_key() && { return std::move(no_key()); }
    /// Sends the key in this header, bare, instead of as `Authorization: Bearer`.
    openai_options& key_header(std::string name) & { return key_header_ = std::move(name), *this; }
    openai_options&& key_header(std::string name) && {
        return std::move(key_header(std::move(name)));
    }
    /// Azure's manner: the key in `api-key`, the API's version in the query.
    openai_options& azure(std::string api_version) & {
        key_header_ = "api-key";
        return api_version_ = std::move(api_version), *this;
    }
    openai_options&& azure(std::string api_version) && {
        return std::move(azure(std::move(api_version)));
    }

    openai_options& organization(std::string id) & {
        return header("OpenAI-Organization", std::move(id));
    }
    openai_options&& organization(std::string id) && {
        return std::move(organization(std::move(id)));
    }
    openai_options& project(std::string id) & { return header("OpenAI-Project", std::move(id)); }
    openai_options&& project(std::string id) && { return std::move(project(std::move(id))); }
    /// A header of every call; it replaces one that the provider would set. A call's own headers
    /// replace it.
    openai_options& header(std::string name, std::string value) & {
        headers_.emplace_back(std::move(name), std::move(value));
        return *this;
    }
    openai_options&& header(std::string name, std::string value) && {
        return std::move(header(std::move(name), std::move(value)));
    }
    /// The model of bodies that name none.
    openai_options& model(std::string name) & { return model_ = std::move(name), *this; }
    openai_options&& model(std::string name) && { return std::move(model(std::move(name))); }

    /// How long a call without a limit of its own may take: 30 seconds in one piece, 10 minutes
    /// as a stream. The transport's own limits shorten them.
    openai_options& timeout(duration unary, duration stream) & {
        unary_ = unary;
        return stream_ = stream, *this;
    }
    openai_options&& timeout(duration unary, duration stream) && {
        return std::move(timeout(unary, stream));
    }
    /// Bytes of a unary answer, and of one event of a stream; 64 MiB unless set.
    openai_options& max_body(std::uint64_t bytes) & { return max_body_ = bytes, *this; }
    openai_options&& max_body(std::uint64_t bytes) && { return std::move(max_body(bytes)); }

    enum class key_source : std::uint8_t { environment, text, function, none };
    key_source source() const { return source_; }
    const std::string& key_text() const { return key_; }  ///< the key or the variable's name
    const std::function<std::string()>& key_function() const { return ask_; }
    const std::string& key_header() const { return key_header_; }
    const std::string& base_url() const { return base_url_; }
    const std::string& api_version() const { return api_version_; }
    const std::string& model() const { return model_; }
    const std::vector<std::pair<std::string, std::string>>& headers() const { return headers_; }
    duration unary_timeout() const { return unary_; }
    duration stream_timeout() const { return stream_; }
    std::uint64_t max_body() const { return max_body_; }

private:
    std::string base_url_, key_ = "OPENAI_API_KEY", key_header_, api_version_, model_;
    key_source source_ = key_source::environment;
    std::function<std::string()> ask_;
    std::vector<std::pair<std::string, std::string>> headers_;
    duration unary_ = std::chrono::seconds(30);
    duration stream_ = std::chrono::minutes(10);
    std::uint64_t max_body_ = std::uint64_t{64} << 20U;
};

}  // namespace llmkit
