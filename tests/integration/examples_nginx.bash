# The examples talk to a server that nobody here wrote: nginx, which serves what real servers once
# answered (tests/recordings), over http and https. $EXAMPLES is the folder of built examples.

fail() {
    printf 'failed: %s\n' "$*" >&2
    exit 1
}
says() { [[ $1 == *"$2"* ]] || fail "expected «$2» in:"$'\n'"$1"; }

nginx=$(PATH=$PATH:/usr/sbin:/sbin command -v nginx) || fail "nginx is not installed: script/bootstrap"
work=$(mktemp -d)
stop() {
    [ ! -s "$work/pid" ] || kill "$(cat "$work/pid")" 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT
mkdir "$work/bodies" "$work/logs"
# As root, nginx reads files as another user.
chmod 755 "$work" "$work/bodies"

# body RECORDING KIND: the body of a recorded answer, freed of its head, its chunk sizes and the note
# that some recordings end in; as a file to which nginx gives the content type of KIND.
body() {
    # With LC_ALL=C a character is a byte.
    LC_ALL=C awk '
        BEGIN { RS = "\n"; head = 1 }
        head {
            line = $0
            sub(/\r$/, "", line)
            if (tolower(line) ~ /^transfer-encoding: *chunked$/) chunked = 1
            if (line == "") head = 0
            next
        }
        { rest = rest $0 "\n" }
        END {
            sub(/\n\[curl rc=[0-9]+\]\n$/, "", rest)
            # Some recordings have lost their chunk sizes on the way.
            if (!chunked || rest !~ /^[0-9a-fA-F]+\r\n/) {
                printf "%s", rest
                exit
            }
            while (match(rest, /^[0-9a-fA-F]+\r\n/)) {
                size = hex(substr(rest, 1, RLENGTH - 2))
                rest = substr(rest, RLENGTH + 1)
                if (size == 0) break
                printf "%s", substr(rest, 1, size)
                rest = substr(rest, size + 3)
            }
        }
        function hex(text,    value, i) {
            for (i = 1; i <= length(text); i++)
                value = value * 16 + index("0123456789abcdef", tolower(substr(text, i, 1))) - 1
            return value
        }' "tests/recordings/$1.http" >"$work/bodies/$1.$2"
}
for answer in llama26.unary mockllm.unary llama26.err mockllm.401 aimock.429; do body $answer json; done
for answer in llama26.stream mockllm.stream aimock.truncated; do body $answer events; done

# A certificate that only this test trusts.
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=localhost' \
    -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' \
    -keyout "$work/key.pem" -out "$work/certificate.pem" 2>/dev/null

# serve PATH RECORDING.KIND [STATUS]: an answer to POST PATH/v1/chat/completions. nginx has no files
# for POST, but it has them for errors, and it lets an error have any status.
serve() {
    printf 'location = /%s/v1/chat/completions { error_page 418 =%s /bodies/%s; return 418; }\n' \
        "$1" "${3:-200}" "$2"
}
{
    serve unary llama26.unary.json
    serve mock mockllm.unary.json
    serve stream llama26.stream.events
    serve mockstream mockllm.stream.events
    serve cut aimock.truncated.events
    serve refused llama26.err.json 400
    serve unauthorized mockllm.401.json 401
    serve busy aimock.429.json 429
} >"$work/answers.conf"

for _ in 1 2 3 4 5; do  # until two free ports are found
    plain=$((20000 + RANDOM % 20000))
    secure=$((plain + 1))
    cat >"$work/nginx.conf" <<CONFIG
worker_processes 1;
pid $work/pid;
error_log $work/logs/error.log;
events {}
http {
    access_log $work/logs/access.log;
    client_body_temp_path $work/logs/client;
    proxy_temp_path $work/logs/proxy;
    fastcgi_temp_path $work/logs/fastcgi;
    uwsgi_temp_path $work/logs/uwsgi;
    scgi_temp_path $work/logs/scgi;
    types { application/json json; text/event-stream events; }
    server {
        listen 127.0.0.1:$plain;
        listen 127.0.0.1:$secure ssl;
        ssl_certificate $work/certificate.pem;
        ssl_certificate_key $work/key.pem;
        # Streams as chunks of unknown length, in pieces.
        location ~ [.]events$ { internal; root $work; ssi on; ssi_types text/event-stream; limit_rate 20k; }
        location /bodies/ { internal; root $work; }
        include $work/answers.conf;
    }
}
CONFIG
    if "$nginx" -c "$work/nginx.conf" -p "$work" 2>"$work/logs/start"; then break; fi
done
[ -s "$work/pid" ] || { cat "$work/logs/start" >&2; fail "nginx does not start"; }

# asked ANSWER EXAMPLE [arguments]: what an example prints when that answer is given.
asked() {
    local answer=$1 example=$2
    shift 2
    OPENAI_BASE_URL=$base/$answer/v1 OPENAI_API_KEY=any "$EXAMPLES/$example" "$@" 2>&1 </dev/null
}
chat() { printf 'Hello\n' | OPENAI_BASE_URL=$base/$1/v1 OPENAI_API_KEY=any "$EXAMPLES/02_streaming_chat" 2>&1; }

for base in http://127.0.0.1:$plain https://localhost:$secure https://127.0.0.1:$secure; do
    export SSL_CERT_FILE=$work/certificate.pem
    says "$(asked mock 07_blocking)" 'héllo wörld this is a longer echo'
    says "$(chat mockstream)" 'héllo wörld this is a longer echo'
    says "$(chat stream)" "uit"
    # A stream that ends in the middle is no success.
    says "$(chat cut)" "truncated: "
    # Errors, in the provider's words.
    says "$(chat refused)" "invalid request: "
    says "$(chat unauthorized)" "authentication: "
    says "$(chat busy)" "rate limited: "
done

# Who does not trust the certificate is told so, and nothing is sent.
unset SSL_CERT_FILE
before=$(wc -l <"$work/logs/access.log")
says "$(chat mockstream)" "tls: "
[ "$(wc -l <"$work/logs/access.log")" = "$before" ] || fail "a request went to an untrusted server"
