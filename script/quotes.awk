# Prints a Markdown page with its quoted code brought up to date:
#   <!-- quote: examples/hello.cpp -->         the block below is the whole file
#   <!-- quote: examples/hello.cpp#NAME -->    or what stands in it between two lines that hold
#                                              // [quote:NAME], without their indentation
# Exits with 1 if a quoted file or part does not exist. script/lint compares, script/format rewrites.
function quoted(what,    path, name, mark, on, found, line, indent) {
    path = what
    name = ""
    if (match(what, /#/)) {
        path = substr(what, 1, RSTART - 1)
        name = substr(what, RSTART + 1)
    }
    mark = "// [quote:" name "]"
    on = name == ""
    while ((getline line < path) > 0) {
        if (name != "" && index(line, mark)) {
            on = !on
            match(line, /^ */)
            indent = RLENGTH
            found = 1
            continue
        }
        if (line ~ /\/\/ \[quote:/) continue
        if (on) {
            print substr(line, 1, indent) ~ /^ *$/ ? substr(line, indent + 1) : line
            if (name == "") found = 1
        }
    }
    close(path)
    if (!found) {
        print FILENAME ":" FNR ": nothing to quote from " what > "/dev/stderr"
        bad = 1
    }
}
inside && /^```/ { inside = 0 }
inside { next }
{ print }
pending && /^```/ {
    quoted(what)
    inside = 1
    pending = 0
}
/^<!-- quote: .* -->$/ {
    what = substr($0, 13, length($0) - 16)
    pending = 1
}
END { exit bad }
