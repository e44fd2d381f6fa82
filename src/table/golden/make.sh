#!/bin/sh
# Makes the Berkeley DB fixtures with the real programs. Usage: make.sh ROOT OUT, as root; ROOT is a folder with Debian's
# sendmail-bin (8.17.1.9) and postfix unpacked in it (their libraries too), OUT gets the files.
set -e
root=$1 out=$2
work=$root/tmp/golden
rm -rf "$work"; mkdir -p "$work"; cd "$work"
long=$(printf '%0900d' 7)
{ n=0; while [ $n -lt 60 ]; do echo "User$n@virt.example	u$n"; n=$((n+1)); done
  echo 'alice	value one # no comment '; echo 'eight	b'; printf 'm\374ller\tM\374ller\n'; echo "long	$long"; } > map
# A value of three overflow pages, and a key of one.
{ cat map; printf 'huge\t'; printf '%09000d\n' 5; printf '%05000d\tbig key\n' 3; } > big
: > "$root/etc/mail/sendmail.cf"
: > main.cf
run() { chroot "$root" "$@"; }
run /usr/sbin/makemap hash /tmp/golden/hash < map
run /usr/sbin/makemap hash /tmp/golden/empty < /dev/null
echo 'only@virt.example	u' | run /usr/sbin/makemap hash /tmp/golden/one
run /usr/sbin/makemap btree /tmp/golden/btree < map
run /usr/sbin/makemap -N hash /tmp/golden/terminated < map
{ cat map; echo 'alice	second'; echo 'alice	third'; } | run /usr/sbin/makemap -d btree /tmp/golden/duplicates
for type in hash btree; do
  { n=0; while [ $n -lt 1500 ]; do n=$((n+1)); echo "dup	u$n"; done; echo 'a	b'; echo 'z	y'; for n in 1 2 3; do echo "few	f$n"; done; } |
    run /usr/sbin/makemap -d $type /tmp/golden/many-$type
done
for type in hash btree; do cp big postfix-$type; run /usr/sbin/postmap -c /tmp/golden $type:/tmp/golden/postfix-$type; done
cp ./*.db "$out"/
