//! What a client must not leave behind: tasks, sockets, connections.

use std::fs;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::case::Outcome;
use crate::servers::Servers;

const PATIENCE: Duration = Duration::from_secs(5);

/// How many sockets this process has open.
pub fn sockets() -> usize {
    let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let links = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

/// Waits until all tasks have ended and all sockets are closed, and asks the scripted server.
pub fn check(runtime: &Runtime, servers: &Servers, before: usize) -> Outcome {
    runtime.block_on(servers.verdict("connections"))?;
    let start = Instant::now();
    loop {
        let tasks = runtime.metrics().num_alive_tasks();
        let sockets = sockets().saturating_sub(before);
        if tasks == 0 && sockets == 0 {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("{tasks} tasks, {sockets} sockets"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
