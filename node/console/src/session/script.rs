//! A script being run: which line is next, and where it was loaded from.

/// The lines of one file.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) path: String,
    text: Vec<u8>,
    position: usize,
    /// Of the line last taken, from 1.
    pub(super) number: usize,
}

impl Script {
    pub(super) const fn new(path: String, text: Vec<u8>) -> Self {
        Self { path, text, position: 0, number: 0 }
    }

    /// The next line, without its line feed or carriage return; the last one may lack them.
    pub(super) fn next_line(&mut self) -> Option<Vec<u8>> {
        let rest = &self.text[self.position..];
        if rest.is_empty() {
            return None;
        }
        let len = rest.iter().position(|octet| *octet == b'\n');
        let line = &rest[..len.unwrap_or(rest.len())];
        self.position += len.map_or(rest.len(), |len| len + 1);
        self.number += 1;
        Some(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
    }

    /// The line last taken, for a message.
    pub(super) fn current(&self) -> String {
        let before = &self.text[..self.position];
        let before = before.strip_suffix(b"\n").unwrap_or(before);
        let start = before.iter().rposition(|octet| *octet == b'\n');
        let line = &before[start.map_or(0, |start| start + 1)..];
        String::from_utf8_lossy(line).trim().to_owned()
    }
}
