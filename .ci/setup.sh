# shellcheck shell=bash
# Sourced by .ci/test, .ci/run and .ci/long: what they need of the machine, and how they run a tox environment.
#
# Sets `checkout`, `logs` (one file an environment) and the functions `run_environment` and `count_tests`.

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$checkout"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
unset PYTHONPATH PYTHONHOME

# What the tests use beside Python: a Postfix to work under, servers to deliver to, to look up in and to resolve with, and
# ip(8) for a private network.
debian_packages=(
    python3-venv iproute2 dovecot-lmtpd libgsasl18 libsasl2-modules sasl2-bin unbound
    krb5-admin-server krb5-kdc krb5-user libsasl2-modules-gssapi-mit
    postfix postfix-cdb postfix-ldap postfix-lmdb postfix-mysql postfix-pcre postfix-pgsql postfix-sqlite
    libpcre2-8-0 mariadb-server memcached postgresql slapd
    # What the libraries of some lookup tables, and of GSSAPI, are compiled with.
    gcc libc6-dev libdb5.3-dev libkrb5-dev libldap-dev libsasl2-dev python3-dev
)

# What the tests deliver to, but cannot be installed beside Postfix: unpacked into $work/servers, with their libraries.
unpacked_packages=(exim4-daemon-light opensmtpd)

heading() { printf '\n==== %s ====\n' "$*"; }

try_thrice() {
    local attempt
    for attempt in 1 2 3; do
        "$@" && return
        printf '%s failed (attempt %s of 3)\n' "$1 ${2:-}" "$attempt" >&2
        sleep $((attempt * 3))
    done
    return 1
}

missing_packages() {
    local package
    for package in "${debian_packages[@]}"; do
        [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
    done
}

install_packages() {
    local missing policy=/usr/sbin/policy-rc.d ours=
    mapfile -t missing < <(missing_packages)
    [ "${#missing[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        printf 'Not installed: %s. Run this as root, or install them and run it again.\n' "${missing[*]}" >&2
        return 1
    fi
    heading "install ${missing[*]}"
    # The tests start their own instances; the packages must not start the system's, nor can they in most containers.
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    local status=0
    try_thrice apt-get -q -y update </dev/null || status=$?
    [ "$status" != 0 ] || try_thrice apt-get -q -y -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}" </dev/null || status=$?
    [ -z "$ours" ] || rm -f "$policy"
    return "$status"
}

libraries_of() {
    apt-cache depends --recurse --important "$@" | sed -n 's/^\(lib[^ :]*\)$/\1/p' | grep -vx 'libc6\|libcrypt1\|libgcc-s1'
}

download_servers() {
    local libraries
    mapfile -t libraries < <(apt-cache depends "${unpacked_packages[@]}" | sed -n 's/^ *Depends: \(lib[^ ]*\)$/\1/p')
    [ "${#libraries[@]}" -gt 0 ] || return 1
    mapfile -t libraries < <(libraries_of "${libraries[@]}" | sort -u)
    apt-get -q download "${unpacked_packages[@]}" "${libraries[@]}" </dev/null
}

# Some tests skip without them, which .ci/test counts as failed in CI; elsewhere their absence is no failure.
unpack_servers() {
    export TWISTED_MTA_SERVERS=$work/servers
    [ ! -e "$TWISTED_MTA_SERVERS/usr/sbin/exim4" ] || [ ! -e "$TWISTED_MTA_SERVERS/usr/sbin/smtpd" ] || return 0
    heading "unpack ${unpacked_packages[*]}"
    local package=$work/packages status=0
    rm -rf "$package" "$TWISTED_MTA_SERVERS"
    mkdir -p "$package" "$TWISTED_MTA_SERVERS"
    (
        cd "$package" || exit
        download_servers || { try_thrice apt-get -q -y update </dev/null && try_thrice download_servers; } || exit
        for archive in *.deb; do dpkg -x "$archive" "$TWISTED_MTA_SERVERS" || exit; done
    ) || status=$?
    chmod -R a+rX "$TWISTED_MTA_SERVERS"
    rm -rf "$package"
    [ "$status" = 0 ] || echo 'Exim and OpenSMTPD cannot be had: their tests will be skipped.' >&2
}

# User postfix executes the interpreter of the tests: a virtual environment below /root, or made from a Python that lives
# there, would not do. So it stands in the checkout only where others can get in, and comes from the system's Python.
choose_work_directory() {
    local directory=$checkout
    while [ "$directory" != / ]; do
        case $(stat -c %A "$directory") in
            *[xt]) directory=$(dirname "$directory") ;;
            *)
                work=$(mktemp -d /var/tmp/tmta.XXXXXX)
                chmod 755 "$work"
                trap 'rm -rf "$work"' EXIT
                return
                ;;
        esac
    done
    work=$checkout/.tox
    mkdir -p "$work"
}

prepare() {
    install_packages || return 1
    [ -n "${TWISTED_MTA_WORK:-}" ] && work=$TWISTED_MTA_WORK || choose_work_directory
    export TWISTED_MTA_WORK=$work
    logs=$work/logs
    mkdir -p "$logs"
    unpack_servers
    if [ ! -x "$work/tools/bin/tox" ]; then
        heading 'install tox'
        /usr/bin/python3 -m venv --clear "$work/tools" || return 1
        try_thrice "$work/tools/bin/pip" --quiet --disable-pip-version-check install 'tox>=4.30,<5' || return 1
    fi
}

# run_environment NAME [ARGUMENT...]: run it, with its output shown and kept in $logs/NAME.
run_environment() {
    heading "$1"
    timeout --kill-after=20 "${TWISTED_MTA_TIME_LIMIT:-1200}" \
        "$work/tools/bin/tox" run --workdir "$work" --colored no -e "$1" ${2:+--} "${@:2}" </dev/null 2>&1 | tee "$logs/$1"
    return "${PIPESTATUS[0]}"
}

# count_tests NAME...: read trial's closing lines; print "passed failed skipped". No closing line at all is one failure.
count_tests() {
    local name
    for name in "$@"; do
        sed -nE 's/^(PASSED|FAILED)( \((.*)\))?$/\1,\3/p' "$logs/$name" | tail -n 1 | grep . || echo 'FAILED,failures=1'
    done | awk -F '[,=]' '
        { for (i = 2; i < NF; i += 2) { gsub(/ /, "", $i); count[$i] += $(i + 1) } }
        END {
            print count["successes"] + count["expectedFailures"],
                count["failures"] + count["errors"] + count["unexpectedSuccesses"], count["skips"] + 0
        }'
}
