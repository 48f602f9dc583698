//! Whether a server serves yet, asked in its own protocol: a port that accepts connections is not enough, since both
//! servers accept them while they still recover, only to send them away.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Protocol 3.0, then name and value of each parameter, each ended by a zero byte, and a zero byte.
const STARTUP: &[u8] = b"\x00\x03\x00\x00user\0amends\0database\0postgres\0\0";

/// PostgreSQL serves when it answers a start-up message with a question for the password (`R`) and not with an error.
pub(super) fn postgres(port: u16) -> bool {
    ask(port, |stream| {
        let length = u32::try_from(STARTUP.len() + 4).map_err(std::io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], STARTUP].concat())?;
        let mut kind = [0];
        stream.read_exact(&mut kind)?;
        Ok(kind == *b"R")
    })
}

/// MariaDB serves when it greets with protocol version 10 and not with an error packet (255).
pub(super) fn mariadb(port: u16) -> bool {
    ask(port, |stream| {
        let mut greeting = [0; 5];
        stream.read_exact(&mut greeting)?;
        Ok(greeting[4] == 10)
    })
}

fn ask(port: u16, question: impl FnOnce(&mut TcpStream) -> std::io::Result<bool>) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, PATIENCE)
        .and_then(|mut stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            question(&mut stream)
        })
        .unwrap_or(false)
}
