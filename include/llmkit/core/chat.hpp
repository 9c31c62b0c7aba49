// llmkit/core/chat.hpp: what people want out of a chat answer: text, tool calls, usage.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <llmkit/core/event.hpp>
#include <llmkit/core/facts.hpp>
#include <llmkit/core/provenance.hpp>

namespace llmkit {

/// A tool that the model wants called. In a delta, a piece: `index` says of which call, and
/// `arguments` is to be appended.
class tool_call {
public:
    tool_call() {}

    std::size_t index = 0;
    std::string id;
    std::string name;
    std::string arguments;  ///< JSON text as the model wrote it; may be invalid JSON
};

/// A piece of an answer as it is written. True for a piece, false at the end.
class chat_delta {
public:
    chat_delta() {}

    explicit operator bool() const { return present_; }
    const std::string& text() const { return text_; }
    const std::vector<tool_call>& tool_calls() const { return tool_calls_; }
    finish_reason finish() const { return finish_; }
    const token_usage& usage() const { return usage_; }

    // For dialects, which fill it.
    void clear() {
        present_ = false;
        text_.clear();
        tool_calls_.clear();
        finish_ = finish_reason::none;
        usage_ = token_usage();
    }
    void set_present(bool yes) { present_ = yes; }
    std::string& mutable_text() { return text_; }
    std::vector<tool_call>& mutable_tool_calls() { return tool_calls_; }
    void set_finish(finish_reason why) { finish_ = why; }
    void set_usage(const token_usage& counted) { usage_ = counted; }

private:
    bool present_ = false;
    std::string text_;
    std::vector<tool_call> tool_calls_;
    finish_reason finish_ = finish_reason::none;
    token_usage usage_;
};

/// A whole answer of a chat model.
class completion {
public:
    completion() {}

    const std::string& text() const { return text_; }        ///< the first choice's text
    const std::string& refusal() const { return refusal_; }  ///< set when the model refused
    const std::vector<tool_call>& tool_calls() const { return tool_calls_; }
    finish_reason finish() const { return finish_; }
    const token_usage& usage() const { return usage_; }
    const std::string& model() const { return model_; }
    const std::string& id() const { return id_; }
    /// Attempts, cache level, join: how this answer came to be.
    const provenance& came_by() const { return came_by_; }
    /// The provider's whole body, and the same parsed (parsed anew on each call).
    std::string_view raw() const { return raw_.data(); }
    nlohmann::json json() const { return nlohmann::json::parse(raw(), nullptr, false); }

    // For dialects, which fill it.
    std::string& mutable_text() { return text_; }
    std::string& mutable_refusal() { return refusal_; }
    std::vector<tool_call>& mutable_tool_calls() { return tool_calls_; }
    void set_finish(finish_reason why) { finish_ = why; }
    void set_usage(const token_usage& counted) { usage_ = counted; }
    void set_model(std::string name) { model_ = std::move(name); }
    void set_id(std::string id) { id_ = std::move(id); }
    void set_raw(event body) { raw_ = std::move(body); }
    void set_provenance(provenance how) { came_by_ = std::move(how); }

private:
    std::string text_, refusal_, model_, id_;
    std::vector<tool_call> tool_calls_;
    finish_reason finish_ = finish_reason::none;
    token_usage usage_;
    provenance came_by_;
    event raw_;
};

/// The vectors of one embeddings call, in the order of its inputs.
class embeddings {
public:
    embeddings() {}

    std::vector<std::vector<float>> vectors;
    token_usage usage;
    std::string model;
    provenance came_by;
};

}  // namespace llmkit
