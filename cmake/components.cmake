# The optional components, one line each. The build and the installed package both read this table.
#
#   llmkit_component(NAME          makes llmkit::NAME and the option LLMKIT_NAME
#       PACKAGE p VERSION v        what find_package looks for
#       LINK targets...            what users of the component link with
#       HEADERS headers...         the headers, below include/llmkit, that need it
#       DEBIAN package)            for the message when it is missing
if(NOT COMMAND llmkit_component)
    include(${CMAKE_CURRENT_LIST_DIR}/component.cmake)
endif()

llmkit_component(tls PACKAGE OpenSSL VERSION 1.1.1 LINK OpenSSL::SSL OpenSSL::Crypto
                 HEADERS transport/tls.hpp transport/tls_channel.hpp transport/tls_context.hpp
                         transport/tls_error.hpp transport/tls_sessions.hpp
                 DEBIAN libssl-dev)
llmkit_component(gzip PACKAGE ZLIB VERSION 1.2.11 LINK ZLIB::ZLIB
                 HEADERS transport/gzip.hpp transport/gzip_decoder.hpp DEBIAN zlib1g-dev)
llmkit_component(http2 PACKAGE NGHTTP2 VERSION 1.52 LINK NGHTTP2::NGHTTP2
                 HEADERS transport/http2.hpp transport/http2_dial.hpp transport/http2_exchange.hpp
                         transport/http2_framing.hpp transport/http2_head.hpp
                         transport/http2_loss.hpp transport/http2_origins.hpp
                         transport/http2_session.hpp transport/http2_warm_up.hpp
                         testing/http2_server.hpp
                 DEBIAN libnghttp2-dev)
llmkit_component(curl PACKAGE CURL VERSION 7.87 LINK CURL::libcurl
                 HEADERS transport/curl.hpp transport/curl_call.hpp transport/curl_error.hpp
                         transport/curl_loop.hpp transport/curl_options.hpp
                 DEBIAN libcurl4-openssl-dev)
llmkit_component(zstd PACKAGE ZSTD VERSION 1.4 LINK ZSTD::ZSTD
                 HEADERS cache/zstd.hpp DEBIAN libzstd-dev)
llmkit_component(sqlite PACKAGE SQLite3 VERSION 3.35 LINK SQLite::SQLite3
                 HEADERS cache/sqlite.hpp cache/sqlite_answers.hpp cache/sqlite_batch.hpp
                         cache/sqlite_database.hpp cache/sqlite_store.hpp
                 DEBIAN libsqlite3-dev)
llmkit_component(postgres PACKAGE PostgreSQL VERSION 14 LINK PostgreSQL::PostgreSQL
                 HEADERS cache/postgres.hpp cache/postgres_address.hpp
                         cache/postgres_connection.hpp cache/postgres_deeds.hpp
                         cache/postgres_seat.hpp cache/postgres_session.hpp
                         cache/postgres_store.hpp cache/postgres_values.hpp
                 DEBIAN libpq-dev)
