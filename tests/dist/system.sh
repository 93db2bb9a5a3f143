#!/bin/sh
# A throw-away Debian with a real systemd: this machine's own files below a layer in memory, in namespaces of its own.
#
#   system.sh start FOLDER    to be run by `unshare`; becomes its init
#   system.sh enter NAME      makes the control groups NAME and runs the rest of the arguments in them
#   system.sh leave NAME      takes them away
#
# Nothing that happens in it reaches this machine: its files are the layer's, kernel settings are read-only, its control
# groups are below its own, and all of it is gone with the first process.
set -eu

# The hierarchies of control groups that can be used: one where they are unified, else each.
groups() {
    for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
        [ ! -f "$hierarchy/cgroup.procs" ] || [ ! -w "$hierarchy/cgroup.procs" ] || echo "$hierarchy"
    done
}

case $1 in
    enter)
        for hierarchy in $(groups); do
            # A set of processors takes nobody until it has some; systemd does not use those.
            mkdir "$hierarchy/$2" 2>/dev/null && echo $$ >"$hierarchy/$2/cgroup.procs" 2>/dev/null || :
            [ "$hierarchy" != /sys/fs/cgroup ] || break
        done
        shift 2
        exec "$@"
        ;;
    leave)
        for hierarchy in $(groups); do
            [ ! -d "$hierarchy/$2" ] || find "$hierarchy/$2" -depth -type d -exec rmdir {} +
        done
        exit
        ;;
esac

layer=$2
# What this process is called outside: /proc is still the one of there.
read -r process _ </proc/self/stat
echo "$process" >"$layer.process"
mount --make-rprivate /
mount -t tmpfs layer "$layer"
mkdir "$layer/upper" "$layer/work" "$layer/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" "$layer/root"
cd "$layer/root"

mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
else
    mount -t tmpfs groups sys/fs/cgroup
    mkdir sys/fs/cgroup/unified sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd systemd sys/fs/cgroup/systemd
fi
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mount -t tmpfs -o mode=755 dev dev
for device in null zero full random urandom tty; do
    : >"dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/shm dev/pts dev/mqueue
mount -t tmpfs shm dev/shm
mount -t devpts -o newinstance,ptmxmode=666 pts dev/pts
ln -s pts/ptmx dev/ptmx

# Nothing of what this machine has installed starts, only what every system has; what packages install does.
rm -rf etc/systemd/system/*.wants usr/sbin/policy-rc.d
# Nobody looks for words in manual pages here; making that index takes longer than everything else.
rm -f var/lib/man-db/auto-update
printf '[Unit]\nRequires=basic.target\nAfter=basic.target\n' >etc/systemd/system/test.target
: >etc/fstab
ip link set lo up
mkdir -p old
pivot_root . old
umount -l old
# As systemd finds the root of a machine, and expects it of a container: what it mounts for a service is seen by it.
mount --make-rshared /
export container=outpost-test
exec /lib/systemd/systemd --unit=test.target
