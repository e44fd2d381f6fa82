#!/usr/bin/env python3
"""ratios.py results.jsonl: ours against Postfix (w7: against sendmail), medians of the runs, judged by the tables of the issues' "Must show".

CPU per message decides. A rate counts only from runs with little other load (other_cpu below 0.15), and a rate
above 60 % of what the generator and the sink reach alone in the same run (`limits`) counts as reached."""
import json, statistics, sys

recs = [json.loads(l) for p in sys.argv[1:] for l in open(p)]
bad = 0


def values(peer, load, key, variant=None, quiet=False):
    rs = [r for r in recs if r["peer"] == peer and r["workload"] == load and key in r and (variant is None or r.get("variant") == variant)]
    if quiet and any(r.get("other_cpu", 0) < 0.15 for r in rs):
        rs = [r for r in rs if r.get("other_cpu", 0) < 0.15]
    return [r[key] for r in rs if r[key] is not None]


def med(*a, **k):
    v = values(*a, **k)
    return statistics.median(v) if v else None


def line(what, ours, theirs, ratio, want, ok, note="", peer="postfix"):
    global bad
    bad += not ok
    show = lambda x: "-" if x is None else f"{x:,.3g}" if abs(x) < 100 else f"{x:,.0f}"
    print(f"{'ok  ' if ok else 'MISS'} {what:<44} ours {show(ours):>9}  {peer} {show(theirs):>9}  ratio {show(ratio):>7}  wanted {want} {note}")


def at_most(what, load, key, share, variant=None, peer="postfix"):
    a, b = med("ours", load, key, variant), med(peer, load, key, variant)
    if a is None or b is None:
        return print(f"--   {what}: no figures")
    line(what, a, b, a / b, f"<= {share:.3g}", a <= b * share, peer=peer)


def at_least(what, load, key, times, variant=None, limit=None, peer="postfix"):
    a, b = med("ours", load, key, variant, quiet=True), med(peer, load, key, variant, quiet=True)
    if a is None or b is None:
        return print(f"--   {what}: no figures")
    top = med("(none)", "limits", "msgs_per_s", limit) if limit else None
    reached = bool(top and a >= 0.6 * top)
    line(what, a, b, a / b, f">= {times:.3g}", a >= b * times or reached, f"({a / top:.0%} of limits)" if top else "", peer=peer)


def absolute(what, load, key, most, variant=None):
    a, b = med("ours", load, key, variant), med("postfix", load, key, variant)
    if a is None:
        return print(f"--   {what}: no figures")
    line(what, a, b, a / b if b else None, f"<= {most:,.6g} absolute", a <= most)


KEPT, FRESH = "smtp-source to smtp-sink, 20 kept connections", "smtp-source to smtp-sink, new connection per message"
at_most("w1d relay, kept: CPU ms/message", "w1d", "cpu_ms_per_msg", 1 / 4)
at_least("w1d relay, kept: messages/s", "w1d", "msgs_per_s", 2.5, limit=KEPT)
at_most("w1 relay, a connection each: CPU ms/message", "w1", "cpu_ms_per_msg", 1 / 3)
at_least("w1 relay, a connection each: messages/s", "w1", "msgs_per_s", 2, limit=FRESH)
at_most("w2 one user's mbox: CPU ms/message", "w2", "cpu_ms_per_msg", 1 / 6, "1 user")
at_least("w2 one user's mbox: messages/s", "w2", "msgs_per_s", 3, "1 user")
for load, what in (("w2", "mbox"), ("w2m", "Maildir")):
    at_most(f"{load} 100 users' {what}: CPU ms/message", load, "cpu_ms_per_msg", 1 / 4, "100 users")
    at_least(f"{load} 100 users' {what}: messages/s", load, "msgs_per_s", 2.5, "100 users")
at_most("w3 sendmail -t -i: wall ms/call", "w3", "wall_ms_med", 1 / 2, "1 at a time")
absolute("w3 sendmail -t -i: RSS kB", "w3", "rss_kb_max", 5000, "1 at a time")
if any(r["peer"] == "opensmtpd" and r["workload"] == "w3" for r in recs):
    for v in ("1 at a time", "8 at a time"):
        for what, key in (("wall ms/call", "wall_ms_med"), ("CPU ms/call", "cpu_ms_med"), ("RSS kB", "rss_kb_max")):
            at_most(f"w3 sendmail -t -i, {v}: {what}", "w3", key, 1, v, peer="opensmtpd")
at_least("w4 accept to queue: messages/s", "w4", "accept_per_s", 3)
at_most("w4 accept to queue: CPU ms/message", "w4", "cpu_ms_per_msg", 1 / 4)
absolute("w4 mailq of 20,000: s", "w4", "mailq_s", 0.2)
at_most("w5 25 MiB: wall s", "w5", "wall_s", 1)
rise = [r["peak_pss_kb"] - r["idle_pss_kb"] for r in recs if r["peer"] == "ours" and r["workload"] == "w5" and "peak_pss_kb" in r]
if rise:
    line("w5 25 MiB: rise of memory, kB", statistics.median(rise), None, None, "< 8,192 absolute", statistics.median(rise) < 8192)
absolute("w8 start to 220: ms", "w8", "start_220_ms_med", 60)
absolute("w8 idle: PSS kB", "w8", "idle_pss_kb", 16000)
for n in (100, 1000, 2000):
    v = f"{n} idle sessions"
    ok = values("ours", "w9", "silent", v) + values("ours", "w9", "refused", v)
    if ok:
        line(f"w9 {n} idle sessions: not greeted", max(ok), None, None, "0", max(ok) == 0)
        served = values("ours", "w9", "other_client_ok", v)
        line(f"w9 {n} idle sessions: another is served", sum(served), None, None, "all", all(served))
absolute("w9 2,000 idle sessions: KiB each", "w9", "pss_per_session_kb", 20, "2000 idle sessions")
w7 = [r for r in recs if r["workload"] == "w7"]
if w7:
    at_most("w7 makemap: s", "w7", "build_s", 1 / 2, peer="sendmail")
    at_most("w7 newaliases: s", "w7", "newaliases_s", 1 / 2, peer="sendmail")
    for tag, what in (("local", "local users"), ("map", "virtual users"), ("miss", "not in the table")):
        at_least(f"w7 RCPT/s, {what}", "w7", f"rcpt_per_s_{tag}", 1, peer="sendmail")
    # What the look-ups added: the programs themselves, started with the tables, are in pss_start_kb.
    rise = [r["pss_after_kb"] - r["pss_start_kb"] for r in w7 if r["peer"] == "ours" and "pss_after_kb" in r]
    idle = med("ours", "w8", "idle_pss_kb")
    if rise:
        line("w7 rise of memory by look-ups, kB", statistics.median(rise), None, None, "< 20,000 absolute", statistics.median(rise) < 20000, peer="sendmail")
    if idle:
        more = med("ours", "w7", "pss_after_kb") - idle
        line("w7 memory above the idle server's (w8), kB", more, None, None, "< 20,000 absolute", more < 20000, peer="sendmail")
    for r in w7:
        wrong = r.get("build_fail") or r.get("newaliases_fail") or r.get("bad_local") or r.get("bad_map") or r.get("ok_miss")
        if r["peer"] == "ours" and wrong:
            bad += 1
            print("MISS w7: a build failed or a look-up gave a wrong answer:", json.dumps(r))
for r in recs:
    if r["peer"] != "ours":
        continue
    missing = r.get("delivered") is not None and "msgs" in r and r["delivered"] != r["msgs"]
    if "error" in r or missing or r.get("fail"):
        bad += 1
        print("MISS", r["workload"], r.get("variant", ""), r.get("error") or f"delivered {r.get('delivered')} of {r.get('msgs')}, failed {r.get('fail')}")
noisy = [r["other_cpu"] for r in recs if r.get("other_cpu", 0) >= 0.15]
if noisy:
    print(f"note: {len(noisy)} of {len(recs)} records had other load (other_cpu up to {max(noisy)}); their rates are left out where there are quiet ones")
sys.exit(bad > 0)
