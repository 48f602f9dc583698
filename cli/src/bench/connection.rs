//! A connection to the coordinator that is as cheap as can be, because callers share the machine with what is measured.
//!
//! It speaks just enough HTTP/1.1: it sends a request made beforehand and reads an answer with a `Content-Length`.

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The longest answer it reads, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// One connection, for one request at a time.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<'b> {
    pub(super) status: u16,
    pub(super) body: &'b str,
}

impl Connection {
    /// Connects to `host:port`.
    pub(super) async fn open(address: &str) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: vec![0; ANSWER_BYTES_MAX] })
    }

    /// Sends a whole request and reads the whole answer.
    pub(super) async fn ask(&mut self, request: &str) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(request.as_bytes()).await?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                bail!("the coordinator closed the connection");
            }
            filled += read;
            let Some(head) = self.buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") else {
                continue;
            };
            let (status, length) = read_head(std::str::from_utf8(&self.buffer[..head])?)?;
            let end = head + 4 + length;
            if end > self.buffer.len() {
                bail!("an answer of {length} bytes is longer than expected");
            }
            if filled >= end {
                return Ok(Answer { status, body: std::str::from_utf8(&self.buffer[head + 4..end])? });
            }
        }
    }
}

/// The status and the length of the body.
fn read_head(head: &str) -> anyhow::Result<(u16, usize)> {
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok()
    });
    Ok((status.context("an answer without a status")?, length.context("an answer without a length")?))
}

/// A start as it stands on the wire; with `wait` the answer comes at the saga's end.
pub(super) fn start(address: &str, definition: &str, input: &str, wait: bool) -> String {
    let body = format!("{{\"definition\":\"{definition}\",\"input\":{input}}}");
    let wait = if wait { "?wait=60s" } else { "" };
    format!(
        "POST /v1/sagas{wait} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_status_and_length_or_what_is_missing() {
        for (head, expected) in [
            ("HTTP/1.1 201 Created\r\nContent-Length: 12", Some((201, 12))),
            ("HTTP/1.1 503 Service Unavailable\r\nx: y\r\ncontent-length:0", Some((503, 0))),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked", None),
            ("nonsense", None),
        ] {
            assert_eq!(read_head(head).ok(), expected, "{head}");
        }
    }
}
