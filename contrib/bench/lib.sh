# What the benchmarks of postern-dkim share; sourced by them, from the project's folder, after contrib/lib.sh. Builds
# for release, and starts the daemons and the peers on UNIX sockets in one folder.

# What is built; a benchmark of other daemons says so before `prepare`.
products=(postern-dkim postern-dns postern-bench)

# prepare PACKAGE...: sets bin and work; starts postern-dns, postern-dkim (postern), the null milter and OpenDKIM.
prepare() {
    need_swift
    install_packages "${build_packages[@]}" gcc opendkim openssl "$@"
    bin=${POSTERN_BIN_DIR:-}
    if [ -z "$bin" ]; then
        local product
        for product in "${products[@]}"; do
            say "building $product (release, as README installs it)"
            swift_build -c release --static-swift-stdlib --product $product
        done
        bin=$(swift build -c release --show-bin-path)
    fi
    work=$(mktemp -d /tmp/postern-bench-XXXXXX)
    pids=()
    trap finish EXIT

    "$bin/postern-bench" corpus "$work"
    cc -O2 -o "$work/null-milter" contrib/bench/null-milter.c -lmilter -lpthread
    cat >"$work/postern.toml" <<EOF
[host]
name = "mx.example.net"
networks = ["10.0.0.0/8"]
[listen]
dkim = "unix:$work/postern.sock"
dns = ["unix:$work/dns.sock"]
control = "$work"
[log]
to = "stderr"
[dns]
upstream = ["127.0.0.1:9"]
static = "bench.zone"
[[dkim.key]]
domain = "example.org"
selector = "bench"
file = "bench.pem"
EOF
    # One OpenDKIM for each job: which mail it signs then hangs on nothing but its own settings.
    local job
    for job in sign verify; do
        cat >"$work/opendkim_$job.conf" <<EOF
Socket local:$work/opendkim_$job.sock
Mode ${job:0:1}
Canonicalization relaxed/relaxed
Domain example.org
Selector bench
KeyFile $work/bench.pem
InternalHosts 10.0.0.0/8,127.0.0.0/8
TestDNSData $work/opendkim.dns
OversignHeaders From
Syslog no
UMask 000
RequireSafeKeys no
EOF
        [ $job = sign ] || sed -i 's/^InternalHosts.*/InternalHosts 10.0.0.0\/8/' "$work/opendkim_$job.conf"
    done
    start dns "$work/dns.sock" "$bin/postern-dns" --config "$work/postern.toml"
    start postern "$work/postern.sock" "$bin/postern-dkim" --config "$work/postern.toml"
    start null "$work/null.sock" "$work/null-milter" "unix:$work/null.sock" add
    for job in sign verify; do
        start opendkim_$job "$work/opendkim_$job.sock" opendkim -f -x "$work/opendkim_$job.conf"
    done
}

finish() {
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}

# start NAME SOCKET COMMAND...: runs it, waits until its socket is there, sets NAME_pid.
start() {
    local name=$1 socket=$2
    shift 2
    "$@" >"$work/$name.log" 2>&1 &
    pids+=($!)
    eval "${name}_pid=$!"
    until [ -S "$socket" ]; do
        kill -0 "${pids[-1]}" 2>/dev/null || { cat "$work/$name.log" >&2; die "$name did not start"; }
        sleep 0.1
    done
}

# What the numbers were measured on.
machine() {
    echo "$(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(uname -r)"
    echo "opendkim $(dpkg-query -W -f '${Version}' opendkim), libmilter $(dpkg-query -W -f '${Version}' libmilter-dev), OpenSSL $(openssl version | cut -d' ' -f2)"
}
