# Plug-in for ../shared/bench (its ours.sh says what each function must do); started through testsuite/load/run.
# OURS_ROOT is a copy of $BENCH_ROOTS/base with our programs in /usr/sbin, so that ours is treated like its peers.
# Everything as delivered: roles under their own uids, syslog, full durability.
p_setup() {
  local c=$R/etc/mail extra= hop="[127.0.0.1]:$SINKPORT" box='mailbox "mbox" path="/var/mail/{user}"'
  : "${R:?ours needs a root of its own, see testsuite/load/run}"
  grep -q '^postrider:' "$R/etc/passwd" || {
    echo 'postrider:x:19990:19990::/nonexistent:/usr/sbin/nologin' >>"$R/etc/passwd"; echo 'postrider:x:19990:' >>"$R/etc/group"
    echo 'postrider-users:x:19991:19991::/nonexistent:/usr/sbin/nologin' >>"$R/etc/passwd"; echo 'postrider-users:x:19991:' >>"$R/etc/group"; }
  case $MODE in
    maildir) box='mailbox "maildir" path="{home}/Maildir"';;
    # DeliveryMode=queue is not built yet: a smart host that refuses connections, and one attempt in four hours.
    hold) hop='[127.0.0.1]:1' extra='queue { retry min="4h" max="4h" }';;
    maps) extra='virtual-users "/etc/mail/virtusertable" { domains "virt.test" }';;
    tls) extra="tls { certificate \"$CERT\" key=\"$KEY\" }";;
  esac
  mkdir -p "$c"; [ -e "$c/aliases" ] || echo "postmaster: root" >"$c/aliases"
  cat >"$c/postrider.kdl" <<KDL
host "bench.test"
listen "127.0.0.1:$PORT"
local-domains "bench.test" "localhost"
aliases "/etc/mail/aliases"
$box
smart-host "$hop"
limits { message-size "100MiB"; recipients 2000 }
$extra
KDL
  rm -rf "$R/var/spool/postrider" "$R/run/postrider"; mkdir -p "$R/var/spool" "$R/run"
  wipe_mail
}
p_start() { exec chroot "$R" /usr/sbin/postrider keeper --config /etc/mail/postrider.kdl; }
# SIGTERM to the keeper: the process whose parent is not one of ours.
p_stop() {
  local p parent; for p in $(cat "$CG/cgroup.procs"); do
    parent=$(awk '/^PPid:/ {print $2}' "/proc/$p/status" 2>/dev/null)
    grep -qx "$parent" "$CG/cgroup.procs" || kill "$p" 2>/dev/null
  done; return 0; }
p_mapfile() { awk -v n="$1" 'BEGIN{for(i=0;i<n;i++) printf "user%d@virt.test\tu%03d\n",i,i%100; print "@virt.test\terror:nouser No such user"}' >"$R/etc/mail/virtusertable"; }
p_aliasfile() { awk -v n="$1" 'BEGIN{for(i=0;i<n;i++) printf "alias%d: u%03d\n",i,i%100}' >"$R/etc/mail/aliases"; }
p_mapclean() { rm -f "$R"/etc/mail/virtusertable* "$R"/etc/mail/aliases.db*; echo "postmaster: root" >"$R/etc/mail/aliases"; }
p_info() { info_common; cat <<INFO
MAILQ=/usr/sbin/sendmail -bp
NEWALIASES=/usr/sbin/sendmail -bi
MAPBUILD=/bin/sh -c "exec /usr/sbin/postrider makemap hash /etc/mail/virtusertable </etc/mail/virtusertable"
BINS=/usr/sbin/postrider /usr/sbin/postrider-keeper /usr/sbin/postrider-users /usr/sbin/postrider-agent /usr/sbin/sendmail
INFO
}
