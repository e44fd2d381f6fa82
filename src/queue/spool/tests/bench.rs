//! Numbers, on demand: `cargo test --release -p queue -- --ignored bench --nocapture`. `QUEUE_BENCH` names the folder (a disk worth measuring).

use super::*;
use crate::{Change, NewState, Select};
use std::time::{Duration, Instant};

struct Bench {
    settings: Settings,
    _folder: Folder,
}

fn bench_settings() -> Bench {
    let folder = match std::env::var_os("QUEUE_BENCH") {
        Some(path) => {
            let path = PathBuf::from(path).join(format!("bench-{}", durable::random_name()));
            std::fs::create_dir_all(&path).unwrap();
            Folder(path)
        }
        None => Folder::new(),
    };
    let settings = Settings { path: folder.0.to_str().unwrap().into(), ..Settings::default() };
    Bench { settings, _folder: folder }
}

async fn client(spool: Arc<Spool>, count: usize, deliver: bool) {
    let body = vec![b'x'; 4096];
    for _ in 0..count {
        let inside = spool.transaction();
        let mut writer = spool.write(4096).unwrap();
        writer.write(&body).unwrap();
        let envelope = envelope(&*spool, &["user"]);
        let id = spool.accept(writer, vec![envelope]).await.unwrap().remove(0).envelope.id;
        drop(inside);
        if deliver {
            let done = Change {
                recipient: 0,
                state: NewState::Delivered,
                at: 0,
                status: None,
                reply: "Sent".into(),
                attempted: true,
                warned: false,
            };
            drop(spool.record(id, vec![done]));
        }
    }
}

fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<u64> = text.rsplit(") ").next().unwrap().split(' ').map(|n| n.parse().unwrap_or(0)).collect();
    Duration::from_millis((fields[11] + fields[12]) * 10)
}

#[test]
#[ignore = "a measurement"]
fn bench() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for (clients, count, deliver) in [(1, 5_000, true), (20, 50_000, true), (200, 100_000, true), (20, 20_000, false)] {
        let bench = bench_settings();
        let spool = open(&bench.settings);
        std::thread::sleep(Duration::from_millis(300));
        let (before, used, started) = (spool.statistics(), cpu(), Instant::now());
        runtime.block_on(async {
            let tasks: Vec<_> =
                (0..clients).map(|_| tokio::spawn(client(Arc::clone(&spool), count / clients, deliver))).collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        let (elapsed, used, after) = (started.elapsed(), cpu() - used, spool.statistics());
        println!(
            "{clients:4} clients, deliver {deliver}: {:8.0} msg/s, {:.3} syncs, {:.3} writes, {:.1} us CPU a message, {} segments",
            count as f64 / elapsed.as_secs_f64(),
            (after.syncs - before.syncs) as f64 / count as f64,
            (after.writes - before.writes) as f64 / count as f64,
            used.as_secs_f64() * 1e6 / count as f64,
            after.segments,
        );
        if !deliver {
            list_and_restart(&runtime, spool, &bench.settings);
        }
    }
}

fn list_and_restart(runtime: &tokio::runtime::Runtime, spool: Arc<Spool>, settings: &Settings) {
    let started = Instant::now();
    let list = runtime.block_on(spool.list(Select::default(), None, 1_000_000)).unwrap();
    println!("list of {}: {:?}", list.len(), started.elapsed());
    drop(list);
    drop(spool);
    let started = Instant::now();
    let (spool, recovery) = Spool::open(settings, NOW).unwrap();
    println!("restart after a kill, {} messages: {:?}", recovery.messages, started.elapsed());
    runtime.block_on(spool.close()).unwrap();
    drop(spool);
    let started = Instant::now();
    let (_spool, recovery) = Spool::open(settings, NOW).unwrap();
    println!("restart after close: {:?}, clean {}", started.elapsed(), recovery.clean);
}
