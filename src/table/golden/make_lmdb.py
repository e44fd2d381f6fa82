#!/usr/bin/env python3
# Makes the LMDB fixtures: python3 make_lmdb.py OUT (with the package lmdb). As postmap does: one file, no folder, no second data base.
import lmdb, os, sys
def make(name, nul, steps):
    path = os.path.join(sys.argv[1], name)
    if os.path.exists(path): os.remove(path)
    env = lmdb.open(path, subdir=False, map_size=1 << 24, lock=False)
    end = b"\0" if nul else b""
    for rows, gone in steps:
        with env.begin(write=True) as txn:
            for key, value in rows: txn.put(key + end, value + end)
            for key in gone: txn.delete(key + end)
    env.close()
rows = [(b"user%d@virt.example" % n, b"u%d" % n) for n in range(300)]
rows += [(b"alice", b"value one # no comment"), (b"m\xfcller", b"M\xfcller"), (b"eight", b"b" * 8), (b"huge", b"5" * 9000)]
# Two commits: the second meta page is the newer one, and pages of the first tree lie about as free ones.
make("map.lmdb", False, [(rows, []), ([(b"alice", b"second")], [b"user7@virt.example"])])
make("terminated.lmdb", True, [(rows[:3] + rows[300:303], [])])
make("empty.lmdb", False, [([], [])])
