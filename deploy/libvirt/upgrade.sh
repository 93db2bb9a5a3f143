#!/bin/sh
# Upgrades an Outpost agent on libvirt without a failed request: boots the new one beside the old one, waits until it is
# ready, points HAProxy at it, and only then shuts the old one down, which stays defined.
#
# What always holds: as long as NEW is not ready, nothing of OLD is touched; every wait has a deadline.
set -eu

usage() {
    cat <<'USAGE'
usage: upgrade.sh [options] OLD NEW

OLD is the domain that serves, NEW the one that is to: defined (virsh define) and shut off.
To go back, run it with the two names the other way round.

  --ready-within SECONDS   how long NEW may take until /readyz says 200 (60)
  --drain SECONDS          how long OLD goes on for connections that are in use (5)
  --address ADDRESS        NEW's address, when it does not come from libvirt's DHCP
  --server BACKEND/SERVER  HAProxy's name for the agent (outpost/active)
  --socket PATH            HAProxy's admin socket (/run/haproxy/admin.sock)

exit code: 0 NEW serves and OLD is shut off · 1 OLD serves as before, NEW is shut off again · 2 called wrongly
           3 NEW serves, but OLD did not shut down
USAGE
}

say() { printf 'upgrade: %s\n' "$*" >&2; }

wrong() {
    say "$*"
    usage >&2
    exit 2
}

is_number() { case $1 in '' | *[!0-9]*) return 1 ;; esac; }

ready_within=60 drain=5 address='' server=outpost/active socket=/run/haproxy/admin.sock
while [ $# -gt 0 ]; do
    case $1 in
        --help) usage && exit 0 ;;
        --ready-within | --drain | --address | --server | --socket)
            [ $# -ge 2 ] || wrong "$1 needs a value."
            case $1 in
                --ready-within) ready_within=$2 ;;
                --drain) drain=$2 ;;
                --address) address=$2 ;;
                --server) server=$2 ;;
                --socket) socket=$2 ;;
            esac
            shift 2
            ;;
        -*) wrong "there is no option $1." ;;
        *) break ;;
    esac
done
[ $# = 2 ] || wrong 'it takes the names of two domains.'
old=$1 new=$2
[ "$old" != "$new" ] || wrong 'OLD and NEW are the same domain.'
is_number "$ready_within" || wrong "--ready-within takes seconds, not $ready_within."
is_number "$drain" || wrong "--drain takes seconds, not $drain."
case $server in ?*/?*) ;; *) wrong "--server takes BACKEND/SERVER, not $server." ;; esac

state() { LC_ALL=C virsh --quiet domstate "$1" 2>/dev/null; }
now() { date +%s; }

# Presses a domain's power button, at which it sends its last records and switches itself off. Fails when it is still
# there after $2 seconds.
shut_down() {
    until=$(($(now) + $2))
    virsh --quiet shutdown "$1" >/dev/null 2>&1 || :
    while [ "$(state "$1")" != 'shut off' ]; do
        [ "$(now)" -lt "$until" ] || return 1
        sleep 0.2
    done
}

# Before the switch: ends NEW and leaves OLD as it is.
give_up() {
    trap '' INT TERM HUP
    shut_down "$new" 10 || virsh --quiet destroy "$new" >/dev/null 2>&1 || :
    say "$* $new was ended again, $old serves as before."
    exit 1
}

haproxy() { printf '%s\n' "$1" | socat -t 5 - "UNIX-CONNECT:$socket"; }

# The address that HAProxy sends to.
in_force() {
    haproxy "show servers state ${server%%/*}" | awk -v name="${server#*/}" '$4 == name { print $5 }'
}

address_of() { LC_ALL=C virsh --quiet domifaddr "$1" --source lease 2>/dev/null | awk '$3 == "ipv4" { sub("/.*", "", $4); print $4; exit }'; }

for program in virsh curl socat awk; do
    command -v "$program" >/dev/null || wrong "$program is not installed."
done
[ -n "$(state "$old")" ] || wrong "libvirt knows no domain $old."
[ "$(state "$new")" = 'shut off' ] || wrong "$new must be defined and shut off; it is: $(state "$new" || echo not known)."
[ "$(state "$old")" = running ] || say "$old is not running; going on."
before=$(in_force) || before=
[ -n "$before" ] || wrong "HAProxy knows no $server, or does not answer at $socket."

trap 'give_up "Interrupted."' INT TERM HUP
deadline=$(($(now) + ready_within))
virsh --quiet start "$new" >/dev/null || give_up "$new did not start; virsh said why."
found=$address answer='it has no address'
while :; do
    [ "$(state "$new")" = running ] || give_up "$new has stopped by itself; its console log says why."
    [ -n "$found" ] || found=$(address_of "$new")
    if [ -n "$found" ]; then
        # The answer's text, and its status in a last line. A guest that does not listen yet is asked again.
        answer=$(curl --silent --max-time 2 --write-out '\n%{http_code}' "http://$found/readyz") || :
        [ "${answer##*
}" != 200 ] || break
    fi
    [ "$(now)" -lt "$deadline" ] || give_up "$new was not ready within $ready_within s: $answer."
    sleep 0.2
done

haproxy "set server $server addr $found port 80" >/dev/null || :
[ "$(in_force)" = "$found" ] || give_up "HAProxy did not take $found for $server."
# From here on NEW serves; an interruption would leave both running.
trap '' INT TERM HUP
say "$new serves at $found (before: $before). Write that address into HAProxy's configuration too."

[ "$(state "$old")" = running ] || exit 0
sleep "$drain"
shut_down "$old" 30 || {
    say "$old did not shut down within 30 s: look at its console, then virsh destroy $old."
    exit 3
}
say "$old is shut off and still defined. To go back: upgrade.sh $new $old"
