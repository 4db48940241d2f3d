#!/bin/sh
# Installs what the tests need beside Python: a browser, PostgreSQL, Redis, iproute2 and bubblewrap. As root on Debian it
# installs; anywhere else it says what is missing. Each test that needs one of them says so too.
set -eu

missing=
have() { command -v "$1" >/dev/null 2>&1; }
have chromium || have google-chrome || missing="$missing chromium"
have bwrap || missing="$missing bubblewrap"
ls /usr/lib/*/libseccomp.so.2 >/dev/null 2>&1 || missing="$missing libseccomp2"
have ip || missing="$missing iproute2"
have redis-server || missing="$missing redis-server"
[ -n "$(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null)" ] || have initdb || missing="$missing postgresql"
[ -n "$missing" ] || exit 0

if have apt-get && [ "$(id -u)" = 0 ]; then
    echo "Installing for the tests:$missing"
    # The cluster that the package would make and start is not wanted: tests make their own.
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
        echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086 # the list is meant to be split
    apt-get install -y -qq --no-install-recommends $missing fonts-dejavu-core >/dev/null
else
    echo "The tests want these programs, which are not installed:$missing"
fi
