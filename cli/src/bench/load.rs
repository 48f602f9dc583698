//! The callers: as cheap as can be, because they share the machine with what is measured.
//!
//! Each caller has one connection and speaks just enough HTTP/1.1 for it: it sends a request made
//! beforehand and reads an answer with a `Content-Length`.

use super::workload::Workload;
use anyhow::{Context, bail};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What all callers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) workload: Workload,
    /// `host:port` of the coordinator.
    pub(super) address: String,
    /// What tells this run's orders from another's.
    pub(super) run: String,
    pub(super) next: AtomicU64,
    /// Whether what ends now is counted.
    pub(super) counting: AtomicBool,
    pub(super) stop: AtomicBool,
}

/// Runs `callers` closed loops on a thread of their own until told to stop; returns every latency counted.
pub(super) fn run(
    shared: Arc<Shared>,
    callers: usize,
) -> std::thread::JoinHandle<anyhow::Result<Vec<Duration>>> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let loops: Vec<_> = (0..callers).map(|_| tokio::spawn(caller(shared.clone()))).collect();
            let mut latencies = Vec::new();
            for one in loops {
                latencies.extend(one.await.context("a caller panicked")??);
            }
            Ok(latencies)
        })
    })
}

async fn caller(shared: Arc<Shared>) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(&shared.address).await?;
    stream.set_nodelay(true)?;
    let mut latencies = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while !shared.stop.load(Ordering::Relaxed) {
        let n = shared.next.fetch_add(1, Ordering::Relaxed);
        let (input, expected) = shared.workload.start(&shared.run, n);
        let request = request(&shared, &input.to_string());
        let begun = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        let body = answer(&mut stream, &mut buffer).await?;
        let ended = format!("\"status\":\"{expected}\"");
        if !body.contains(&ended) {
            bail!("saga {n} was to end {expected}; the coordinator answered {body}");
        }
        if shared.counting.load(Ordering::Relaxed) {
            latencies.push(begun.elapsed());
        }
    }
    Ok(latencies)
}

fn request(shared: &Shared, input: &str) -> String {
    let body = format!("{{\"definition\":\"{}\",\"input\":{input}}}", shared.workload.saga());
    format!(
        "POST /v1/sagas?wait=60s HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        shared.address,
        body.len()
    )
}

/// Reads one answer and returns its body.
async fn answer<'b>(stream: &mut TcpStream, buffer: &'b mut [u8]) -> anyhow::Result<&'b str> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            bail!("the coordinator closed the connection");
        }
        filled += read;
        let Some(head) = buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let headers = std::str::from_utf8(&buffer[..head])?;
        let length = headers
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok()
            })
            .context("an answer without a length")?;
        let end = head + 4 + length;
        if end > buffer.len() {
            bail!("an answer of {length} bytes is longer than expected");
        }
        if filled >= end {
            return Ok(std::str::from_utf8(&buffer[head + 4..end])?);
        }
    }
}
