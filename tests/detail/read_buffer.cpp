#include <llmkit/detail/read_buffer.hpp>

#include <thread>

#include "test.hpp"

namespace test_detail_read_buffer {

using llmkit::detail::read_buffer;

namespace {

/// Lives longer than what its thread keeps: it is made first.
struct late {
    read_buffer buffer;
};

}  // namespace

TEST_CASE("a thread's buffers take turns in the same memory", "[read_buffer]") {
    read_buffer first;
    const char* const at = first.get();
    read_buffer second;
    CHECK(second.get() != at);
    first.drop();
    CHECK(first.data() == nullptr);
    read_buffer third;
    CHECK(third.get() == at);
    second.drop();
    third.drop();  // one is kept, the other goes
    CHECK(first.get() != nullptr);
}

TEST_CASE("a buffer may outlive what its thread keeps", "[read_buffer]") {
    std::thread([] {
        static thread_local late one;
        one.buffer.get()[0] = 'x';
    }).join();
    CHECK(true);  // the address sanitizer would tell
}

}  // namespace test_detail_read_buffer
