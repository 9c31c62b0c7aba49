// llmkit/core/request.hpp: one question to a provider, cheap to copy.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include <llmkit/core/bytes.hpp>
#include <llmkit/core/call_options.hpp>
#include <llmkit/core/key.hpp>
#include <llmkit/detail/copy_on_write.hpp>
#include <llmkit/detail/once.hpp>
#include <llmkit/detail/pooled.hpp>

namespace llmkit {

/// Which top-level fields of a body count when two requests are compared.
enum class key_fields : std::uint8_t {
    meaning,       ///< all but `stream` and `stream_options`
    without_user,  ///< all but those and `user`
};

/// An operation ("chat/completions"), its JSON body, and the call's options.
///
///     llmkit::request ask("chat/completions", R"({"model":"m","messages":[]})");
///     ask.options().set_tenant("acme");
///
/// The body is text first: it is sent as it was written, unknown fields included. Its parsed form
/// and its canonical form are made when first asked for, once, and shared by all copies. An empty
/// body is a GET. Copies may be read by several threads; one object has one writer.
class request {
public:
    request() : request(std::string(), std::string()) {}
    request(std::string operation, std::string body)
        : content_(detail::make_pooled<content>(std::move(operation), bytes(std::move(body)))) {}
    request(std::string operation, std::string body, const call_options& options)
        : request(std::move(operation), std::move(body)) {
        options_ = detail::copy_on_write<call_options>(options);
    }
    request(std::string operation, const char* body)
        : request(std::move(operation), std::string(body)) {}
    request(std::string operation, const nlohmann::json& body)
        : request(std::move(operation), body.dump()) {}

    const std::string& operation() const { return content_->operation; }
    std::string_view body() const { return content_->body.view(); }
    const bytes& shared_body() const { return content_->body; }
    /// The parsed body; `is_discarded()` when it is not valid JSON.
    const nlohmann::json& json() const { return content_->parsed(); }
    /// The canonical form (core/key.hpp), the same for bodies that mean the same. A body that is
    /// not JSON stands for itself.
    std::string_view canonical(key_fields fields = key_fields::meaning) const {
        return shared_canonical(fields).view();
    }
    const bytes& shared_canonical(key_fields fields = key_fields::meaning) const {
        return content_->kept(fields);
    }
    /// Whether that form is this one. Just after `content_key` it costs no copy of the form.
    bool means(std::string_view canonical, key_fields fields = key_fields::meaning) const {
        return content_->at_hand(fields) == canonical;
    }
    /// The 128-bit hash of that form and the operation.
    key128 content_key(key_fields fields = key_fields::meaning) const {
        return content_->formed(fields).key;
    }

    /// The same call with another body.
    request with_body(std::string body) const {
        request other = *this;
        other.content_ = detail::make_pooled<content>(operation(), bytes(std::move(body)));
        return other;
    }

    const call_options& options() const { return options_.read(); }
    /// For changing them: copies of this request keep theirs.
    call_options& options() { return options_.edit(); }

    /// The limit for one wait: the call's deadline, but at most `span` from `now`.
    limit wait_limit(time_point now, duration span = duration::max()) const {
        limit until = options().deadline.earliest(after(now, span));
        until.owner = options().link ? &options().link->owner() : nullptr;
        return until;
    }

private:
    struct form {
        detail::once made;
        key128 key;
        std::uint64_t number = 0;  // in detail::latest_form
        detail::once kept;
        bytes text;
    };
    struct content {
        content(std::string op, bytes text) : operation(std::move(op)), body(std::move(text)) {}

        const nlohmann::json& parsed() {
            parsing.run([this] { json = nlohmann::json::parse(body.view(), nullptr, false); });
            return json;
        }
        form& formed(key_fields fields) {
            form& wanted = forms[static_cast<std::size_t>(fields)];
            wanted.made.run([&] { write(wanted, fields); });
            return wanted;
        }
        void write(form& wanted, key_fields fields);
        const bytes& kept(key_fields fields);
        std::string_view at_hand(key_fields fields) {
            form& wanted = formed(fields);
            const auto latest =
                wanted.kept.made() ? std::nullopt : detail::latest_form::find(wanted.number);
            return latest ? *latest : kept(fields).view();
        }

        const std::string operation;
        const bytes body;
        detail::once parsing;
        nlohmann::json json;
        form forms[2];
    };

    std::shared_ptr<content> content_;
    detail::copy_on_write<call_options> options_;
};

/// Leaves the form where the thread's next one will be written, unless that is too large.
inline void request::content::write(form& wanted, key_fields fields) {
    static constexpr std::string_view excluded[] = {"stream", "stream_options", "user"};
    const std::span<const std::string_view> all(excluded);
    const auto leave_out = fields == key_fields::without_user ? all : all.first(2);
    std::string_view canonical;
    const key128 meaning = body_key(body.view(), canonical, leave_out);
    wanted.key = key_builder().add(operation).add(meaning).finish();
    wanted.number = detail::latest_form::number();
    const bool same = canonical == body.view();
    const bool large = detail::latest_form::large();
    if (same || large) {
        wanted.kept.run([&] { wanted.text = same ? body : bytes::copy(canonical); });
    }
    if (large) detail::latest_form::drop();
}
inline const bytes& request::content::kept(key_fields fields) {
    form& wanted = formed(fields);
    wanted.kept.run([&] {
        form again;
        auto latest = detail::latest_form::find(wanted.number);
        if (!latest) {
            write(again, fields);
            latest = detail::latest_form::find(again.number);
        }
        wanted.text = again.kept.made() ? again.text : bytes::copy(*latest);
    });
    return wanted.text;
}

}  // namespace llmkit
