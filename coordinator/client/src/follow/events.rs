//! Reading server-sent events: only the data of each, which is one line of JSON.

/// The longest line that is kept, in bytes; a longer one is dropped up to its end.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Cuts a stream of bytes into the data of its events.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
    is_overlong: bool,
}

impl Lines {
    /// Takes the next bytes, and gives the data of every event whose line is complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let pieces = bytes.split_inclusive(|byte| *byte == b'\n');
        pieces.filter_map(|piece| self.piece(piece)).collect()
    }

    fn piece(&mut self, piece: &[u8]) -> Option<String> {
        self.is_overlong |= self.rest.len() + piece.len() > LINE_BYTES_MAX;
        match self.is_overlong {
            true => self.rest.clear(),
            false => self.rest.extend_from_slice(piece),
        }
        if !piece.ends_with(b"\n") {
            return None;
        }
        let line = std::mem::take(&mut self.rest);
        if std::mem::take(&mut self.is_overlong) { None } else { data(&line) }
    }
}

/// The data of a line `data: …`.
fn data(line: &[u8]) -> Option<String> {
    let data = std::str::from_utf8(line).ok()?.trim_end_matches(['\r', '\n']).strip_prefix("data:")?;
    Some(data.strip_prefix(' ').unwrap_or(data).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_found_however_the_bytes_are_cut() {
        let text =
            "id: 1\nevent: started\ndata: {\"seq\":1}\n\n: sign of life\n\ndata:{\"seq\":2}\r\n\r\ndata: cut";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let found: Vec<String> =
                text.as_bytes().chunks(size).flat_map(|piece| lines.push(piece)).collect();
            assert_eq!(found, ["{\"seq\":1}", "{\"seq\":2}"], "in pieces of {size}");
        }
    }

    #[test]
    fn an_overlong_line_is_dropped_and_the_next_one_read() {
        let mut lines = Lines::default();
        assert!(lines.push(&vec![b'x'; LINE_BYTES_MAX + 1]).is_empty());
        assert_eq!(lines.push(b"tail\ndata: 1\n"), ["1"]);
    }
}
