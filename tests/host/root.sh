#!/bin/sh
# root.sh DIR: make a small Debian 12 with systemd in DIR, for the tests in this directory (as root; needs debootstrap and a Debian mirror; 2 minutes).
set -eu
dir=$1
[ -e "$dir/.made" ] && exit 0
mirror=$(sed -n 's/^URIs: *\(.*debian\.org\/debian\) *$/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null | head -1)
rm -rf "$dir"
debootstrap --variant=minbase bookworm "$dir" "${mirror:-http://deb.debian.org/debian}"
printf '#!/bin/sh\nexit 101\n' > "$dir/usr/sbin/policy-rc.d"            # start nothing in here
chmod 755 "$dir/usr/sbin/policy-rc.d"
cp -L /etc/resolv.conf "$dir/etc/resolv.conf"
mount -t proc proc "$dir/proc"; trap 'umount "$dir/proc"' EXIT
DEBIAN_FRONTEND=noninteractive chroot "$dir" apt-get install -y -q --no-install-recommends systemd systemd-sysv dbus make procps cron \
    openssl curl python3 python3-dnspython python3-pyinotify python3-daemon python3-lockfile python3-cryptography python3-argon2
rm "$dir/usr/sbin/policy-rc.d"
rm -f "$dir"/etc/machine-id "$dir"/var/cache/apt/archives/*.deb
touch "$dir/.made"
