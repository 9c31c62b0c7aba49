// llmkit/core/chat_request.hpp: a chat request, written member by member.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <llmkit/core/call_builder.hpp>
#include <llmkit/core/chat.hpp>
#include <llmkit/core/request.hpp>
#include <llmkit/detail/json_write.hpp>

namespace llmkit {

/// Builds the body of a chat completion and the call's options.
///
///     auto ask = llmkit::chat_request("gpt-4o-mini")
///                    .system("Answer in one word.")
///                    .user("What is the capital of France?")
///                    .temperature(0)
///                    .max_tokens(8);
///
/// The body is written as text at once; nothing is parsed. `set` reaches every field that has no
/// function of its own, and replaces what was set before. Text that is not UTF-8 is mended with
/// U+FFFD. Not thread-safe; copy it to use it twice.
class chat_request : public call_builder<chat_request> {
public:
    explicit chat_request(std::string model) {
        fields_.reserve(96);
        places_.reserve(4);
        write("model", std::string_view(model));
    }

    chat_request& system(std::string_view text) & { return say("system", text); }
    chat_request&& system(std::string_view text) && { return std::move(system(text)); }
    chat_request& user(std::string_view text) & { return say("user", text); }
    chat_request&& user(std::string_view text) && { return std::move(user(text)); }
    chat_request& assistant(std::string_view text) & { return say("assistant", text); }
    chat_request&& assistant(std::string_view text) && { return std::move(assistant(text)); }

    /// A user's message with a picture: an https or data URL.
    chat_request& image(std::string_view text, std::string_view url) & {
        std::string content = R"([{"type":"text","text":)";
        detail::write_json(content, text);
        content += R"(},{"type":"image_url","image_url":{"url":)";
        detail::write_json(content, url);
        content += "}}]";
        return message_json("user", content);
    }
    chat_request&& image(std::string_view text, std::string_view url) && {
        return std::move(image(text, url));
    }

    /// The answer of a tool to the call `id` that the model made.
    chat_request& tool_result(std::string_view id, std::string_view content) & {
        std::string& out = next_message();
        out += R"({"role":"tool","tool_call_id":)";
        detail::write_json(out, id);
        out += R"(,"content":)";
        detail::write_json(out, content);
        out += '}';
        return *this;
    }
    chat_request&& tool_result(std::string_view id, std::string_view content) && {
        return std::move(tool_result(id, content));
    }
    /// What the model said before, tool calls included, to go on from there.
    chat_request& assistant(const completion& said) & {
        std::string& out = next_message();
        out += R"({"role":"assistant","content":)";
        if (said.text().empty() && !said.tool_calls().empty()) {
            out += "null";
        } else {
            detail::write_json(out, std::string_view(said.text()));
        }
        if (!said.tool_calls().empty()) {
            out += R"(,"tool_calls":[)";
            for (const auto& call : said.tool_calls()) {
                if (out.back() != '[') out += ',';
                out += R"({"id":)";
                detail::write_json(out, std::string_view(call.id));
                out += R"(,"type":"function","function":{"name":)";
                detail::write_json(out, std::string_view(call.name));
                out += R"(,"arguments":)";
                detail::write_json(out, std::string_view(call.arguments));
                out += "}}";
            }
            out += ']';
        }
        out += '}';
        return *this;
    }
    chat_request&& assistant(const completion& said) && { return std::move(assistant(said)); }

    /// A message in the provider's own JSON, as text.
    chat_request& message(std::string_view json) & {
        next_message() += json;
        return *this;
    }
    chat_request&& message(std::string_view json) && { return std::move(message(json)); }

    /// A function that the model may call; `parameters` is its JSON schema, as text.
    ///
    ///     .tool("weather", "Weather in a city.",
    ///           R"({"type":"object","properties":{"city":{"type":"string"}}})")
    chat_request& tool(std::string_view name, std::string_view description,
                       std::string_view parameters) & {
        tools_ += tools_.empty() ? "" : ",";
        tools_ += R"({"type":"function","function":{"name":)";
        detail::write_json(tools_, name);
        tools_ += R"(,"description":)";
        detail::write_json(tools_, description);
        tools_ += R"(,"parameters":)";
        tools_ += parameters;
        tools_ += "}}";
        return *this;
    }
    chat_request&& tool(std::string_view name, std::string_view description,
                        std::string_view parameters) && {
        return std::move(tool(name, description, parameters));
    }

    chat_request& temperature(double t) & { return write("temperature", t); }
    chat_request&& temperature(double t) && { return std::move(temperature(t)); }
    chat_request& top_p(double p) & { return write("top_p", p); }
    chat_request&& top_p(double p) && { return std::move(top_p(p)); }
    /// At most this many tokens of answer.
    chat_request& max_tokens(int count) & { return write("max_tokens", count); }
    chat_request&& max_tokens(int count) && { return std::move(max_tokens(count)); }
    chat_request& seed(std::int64_t s) & { return write("seed", s); }
    chat_request&& seed(std::int64_t s) && { return std::move(seed(s)); }
    chat_request& stop(std::string_view sequence) & { return write("stop", sequence); }
    chat_request&& stop(std::string_view sequence) && { return std::move(stop(sequence)); }
    /// `{"type":"json_object"}` or a JSON schema, as text.
    chat_request& response_format(std::string_view json) & {
        return set_json("response_format", json);
    }
    chat_request&& response_format(std::string_view json) && {
        return std::move(response_format(json));
    }
    /// Any other top-level field: a string, number, bool or an `nlohmann::json` made before. A
    /// braced list is not taken here, because g++ 12 cannot compile one inside a co_await.
    template <class Value>
        requires std::convertible_to<const Value&, nlohmann::json>
    chat_request& set(std::string_view field, const Value& value) & {
        constexpr bool fits = !(std::unsigned_integral<Value> && sizeof(Value) == 8);
        constexpr bool text = std::convertible_to<const Value&, std::string_view>;
        if constexpr (std::same_as<Value, bool>) {
            return write(field, value);
        } else if constexpr (std::integral<Value> && fits) {
            return write(field, static_cast<std::int64_t>(value));
        } else if constexpr (std::floating_point<Value>) {
            return write(field, static_cast<double>(value));
        } else if constexpr (text && !requires { value.is_object(); }) {
            return write(field, std::string_view(value));
        } else {
            const nlohmann::json json = value;
            return put(field, json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
        }
    }
    template <class Value>
        requires std::convertible_to<const Value&, nlohmann::json>
    chat_request&& set(std::string_view field, const Value& value) && {
        return std::move(set(field, value));
    }
    /// Any other top-level field, as JSON text. A body that is no JSON is refused when it is sent.
    chat_request& set_json(std::string_view field, std::string_view json) & {
        return put(field, json);
    }
    chat_request&& set_json(std::string_view field, std::string_view json) && {
        return std::move(set_json(field, json));
    }

    /// The body as it will be sent.
    std::string body() const {
        const std::size_t model = places_.front().size;
        std::string out;
        out.reserve(fields_.size() + messages_.size() + tools_.size() + 32);
        out += '{';
        out.append(fields_, 0, model);
        if (!messages_.empty()) out.append(",\"messages\":[").append(messages_) += ']';
        out.append(fields_, model);
        if (!tools_.empty()) out.append(",\"tools\":[").append(tools_) += ']';
        out += '}';
        return out;
    }
    /// The request that a service takes.
    request to_request() const { return request("chat/completions", body(), options()); }

private:
    /// Of a field in `fields_`: `,"name":value`, the first one without the comma.
    struct place {
        std::size_t at;
        std::size_t name_size;
        std::size_t size;
    };

    std::string& next_message() {
        if (messages_.empty()) {
            messages_.reserve(480);
        } else {
            messages_ += ',';
        }
        return messages_;
    }
    chat_request& say(std::string_view role, std::string_view text) {
        std::string& out = next_message();
        out.reserve(out.size() + text.size() + 48);
        out += R"({"role":")";
        out += role;
        out += R"(","content":)";
        detail::write_json(out, text);
        out += '}';
        return *this;
    }
    chat_request& message_json(std::string_view role, std::string_view content) {
        std::string& out = next_message();
        out += R"({"role":")";
        out += role;
        out += R"(","content":)";
        out += content;
        out += '}';
        return *this;
    }
    template <class Value>
    chat_request& write(std::string_view field, Value value) {
        return put(field, [&] { detail::write_json(fields_, value); });
    }
    chat_request& put(std::string_view field, std::string_view json) {
        return put(field, [&] { fields_ += json; });
    }
    template <class Write>
        requires std::invocable<Write&>
    chat_request& put(std::string_view field, Write write_value) {
        place fresh{fields_.size(), 0, 0};
        if (!places_.empty()) fields_ += ',';
        detail::write_json(fields_, field);
        fresh.name_size = fields_.size() - fresh.at;
        fields_ += ':';
        write_value();
        fresh.size = fields_.size() - fresh.at;
        for (std::size_t i = 0; i < places_.size(); ++i) {
            if (name_of(places_[i]) == name_of(fresh)) return replace(i, fresh), *this;
        }
        places_.push_back(fresh);
        return *this;
    }
    std::string_view name_of(const place& of) const {
        const std::size_t comma = of.at == 0 ? 0 : 1;
        return std::string_view(fields_).substr(of.at + comma, of.name_size - comma);
    }
    /// The last field takes the place of an older one of its name.
    void replace(std::size_t which, const place& last) {
        place& old = places_[which];
        const std::size_t without = old.at == 0 ? 1 : 0;  // the comma
        const std::string text = fields_.substr(last.at + without);
        fields_.resize(last.at);
        fields_.replace(old.at, old.size, text);
        for (std::size_t i = which + 1; i < places_.size(); ++i) {
            places_[i].at += text.size() - old.size;  // modulo 2⁶⁴ where it shrinks
        }
        old.size = text.size();
    }

    std::string fields_;
    std::vector<place> places_;  // in fields_; "model" is the first
    std::string messages_;
    std::string tools_;
};

/// Builds an embeddings call.
///
///     auto found = co_await client.embed(embed_request("text-embedding-3-small")
///                                            .input("a cat").input("a dog"));
class embed_request : public call_builder<embed_request> {
public:
    explicit embed_request(std::string model) : model_(std::move(model)) {}

    embed_request& input(std::string_view text) & {
        if (!inputs_.empty()) inputs_ += ',';
        detail::write_json(inputs_, text);
        return *this;
    }
    embed_request&& input(std::string_view text) && { return std::move(input(text)); }
    /// A shorter vector, where the model allows it.
    embed_request& dimensions(int count) & { return dimensions_ = count, *this; }
    embed_request&& dimensions(int count) && { return std::move(dimensions(count)); }

    std::string body() const {
        std::string out = "{\"model\":";
        detail::write_json(out, std::string_view(model_));
        out += ",\"input\":[" + inputs_ + ']';
        if (dimensions_ > 0) out += ",\"dimensions\":" + std::to_string(dimensions_);
        return out + '}';
    }
    request to_request() const { return request("embeddings", body(), options()); }

private:
    std::string model_;
    std::string inputs_;
    int dimensions_ = 0;
};

}  // namespace llmkit
