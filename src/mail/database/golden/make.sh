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
# Aliases as newaliases makes them: keys and values end in NUL, and there is an `@`. The paths are those of
# testsuite/cases/alias_database.rs; in the last one the program is gone.
{ echo 'plain: u01'; echo 'program: "|/home/lost/run"'; echo 'file: /home/lost/file'; echo 'list: :include:/home/lost/list'; } > aliases-hash
cp aliases-hash aliases-btree
grep -v '^program' aliases-hash > aliases-without
mkdir queue
for name in hash:aliases-hash btree:aliases-btree hash:aliases-without; do
  { echo V10/Berkeley; echo 'O QueueDirectory=/tmp/golden/queue'; echo 'O DontProbeInterfaces=true'; echo Djmx.test; echo Dwmx
    echo "O AliasFile=${name%%:*}:/tmp/golden/${name#*:}"; echo 'O DontBlameSendmail=MapInUnsafeDirPath'
    echo 'Mlocal, P=/bin/true, F=lsDFMAw5:/|@q, A=true'; echo 'Mprog, P=/bin/sh, F=lsDFMoqeu9, A=sh -c $u'
    printf 'S3\nR$*\t$: $1\nS0\nR$+\t$#local $: $1\n'; } > cf
  run /usr/libexec/sendmail/sendmail -C/tmp/golden/cf -bi || [ -s ${name#*:}.db ] # "Who are you?" in a folder without accounts
done
cp ./*.db "$out"/
# ours.db: `printf 'alice one\nbob two\ncarol three\n' > text; postrider makemap hash ours < text`.
