# What contrib/test and contrib/try share; sourced by both, from the project's folder. Debian 12, bash.
# It installs packages and starts nothing: a service that a package would start is held back (policy-rc.d).

# What the build needs beside Swift: the C libraries, the C++ headers of toml++, and git for the package manager.
build_packages=(git ca-certificates libmilter-dev libssl-dev libldns-dev libspf2-dev libsqlite3-dev libarchive-dev
    libhiredis-dev libtomlplusplus-dev libstdc++-12-dev pkg-config zlib1g-dev)

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

# Postfix starts only as root. Restarts the calling script with sudo, PATH kept for Swift's sake.
as_root() {
    [ "$(id -u)" -eq 0 ] && return
    command -v sudo >/dev/null || die "run this as root: it installs packages and starts a private Postfix"
    exec sudo env "PATH=$PATH" "$0" "$@"
}

need_swift() {
    command -v swift >/dev/null || die "expected Swift 6.3 on PATH, found none: see swift.org/install"
}

# install_packages NAME...: with apt, without questions; apt is not even asked when all are there.
install_packages() {
    local name missing=()
    for name in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    local log policy=/usr/sbin/policy-rc.d ours=no status=0
    log=$(mktemp)
    # Source: invoke-rc.d(8): 101 forbids the action. One that is there already belongs to the machine.
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    {
        apt-get -q update &&
            # Postfix shall neither ask nor write an /etc/postfix/main.cf that somebody might take for the admin's.
            { ! printf '%s\n' "${missing[@]}" | grep -qx postfix ||
                echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections; } &&
            apt-get -q -y --no-install-recommends install "${missing[@]}"
    } >"$log" 2>&1 || status=$?
    [ $ours = no ] || rm -f "$policy"
    [ $status -eq 0 ] || { tail -n 30 "$log" >&2; rm -f "$log"; die "apt-get failed"; }
    rm -f "$log"
}

# swift_build ARGUMENT...: quiet; its output is shown only when it fails.
swift_build() {
    local log status=0
    log=$(mktemp)
    swift build "$@" >"$log" 2>&1 || status=$?
    if [ $status -ne 0 ]; then
        grep -E 'error|warning' "$log" | sort -u | head -n 50 >&2 || true
        tail -n 5 "$log" >&2
    fi
    rm -f "$log"
    return $status
}
