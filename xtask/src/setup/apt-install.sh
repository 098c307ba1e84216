#!/bin/sh
# Installs Debian packages without starting what they bring, and without asking. Arguments: packages.
# One script, run as root as a whole, so that the policy is put back however it ends.
set -eu

policy=/usr/sbin/policy-rc.d
saved=$policy.before-xtask

# A guard that an interrupted run left behind.
if [ -e "$saved" ]; then mv -f "$saved" "$policy"; fi

restore() {
    rm -f "$policy"
    if [ -e "$saved" ]; then mv -f "$saved" "$policy"; fi
}
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

if [ -e "$policy" ]; then mv -f "$policy" "$saved"; fi
# invoke-rc.d(8): 101 means "action forbidden by policy".
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
if ! apt-get install --simulate -qq "$@" >/dev/null 2>&1; then
    apt-get update
fi
# What the lists name may have been replaced in the archive since they were fetched.
if ! apt-get install --yes --no-install-recommends "$@"; then
    apt-get update
    apt-get install --yes --no-install-recommends "$@"
fi
