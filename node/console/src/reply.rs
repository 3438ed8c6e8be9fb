//! What a command answers: data lines, if it has any, and a code.
//!
//! `0000 DATA END WITH '.'`, lines, `.`; then `1000 Success`, or `1` with the three-digit error
//! number and its text. The prompt is the [`Session`](crate::Session)'s.

use std::fmt;

use crate::errno::Errno;

/// The answer to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    lines: Option<Vec<String>>,
    errno: Option<Errno>,
    reason: Option<&'static str>,
}

impl Reply {
    /// Done, with nothing to tell: `1000 Success`.
    pub const fn success() -> Self {
        Self { lines: None, errno: None, reason: None }
    }

    /// Not done: `1NNN text`.
    ///
    /// [`SwitchCommand::failure`](crate::SwitchCommand::failure) also knows which commands send an
    /// empty block before the code.
    pub const fn failure(errno: Errno) -> Self {
        Self { lines: None, errno: Some(errno), reason: None }
    }

    /// Done, and this is what was asked for: the text of each item, which may be several lines.
    ///
    /// Control characters other than the line feeds between lines become `?`, and a line that is a
    /// single dot gets a blank before it: nothing that a guest called itself can end the block.
    pub fn data<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> Self {
        let lines = items.into_iter().flat_map(|item| {
            let text = item.to_string();
            text.split('\n').map(guarded).collect::<Vec<_>>()
        });
        Self { lines: Some(lines.collect()), errno: None, reason: None }
    }

    /// A block without lines, which some commands send even when they fail.
    pub const fn empty() -> Self {
        Self { lines: Some(Vec::new()), errno: None, reason: None }
    }

    /// The same data, but the command failed.
    #[must_use]
    pub const fn but(mut self, errno: Errno) -> Self {
        self.errno = Some(errno);
        self
    }

    /// Says behind the error's text why, and what to do: `1095 Operation not supported: reason`.
    ///
    /// Scripts read the code alone. Without an error nothing is said.
    #[must_use]
    pub const fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// The error that the reply ends with; `None` is success.
    pub const fn errno(&self) -> Option<Errno> {
        self.errno
    }

    /// Appends the reply as it goes over the wire, without a prompt.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if let Some(lines) = &self.lines {
            out.extend_from_slice(b"0000 DATA END WITH '.'\n");
            for line in lines {
                out.extend_from_slice(line.as_bytes());
                out.push(b'\n');
            }
            out.extend_from_slice(b".\n");
        }
        out.extend_from_slice(self.status().as_bytes());
        out.push(b'\n');
    }

    /// The last line: `1000 Success`, `1022 Invalid argument`.
    pub fn status(&self) -> String {
        match (self.errno, self.reason) {
            (None, _) => "1000 Success".to_owned(),
            (Some(errno), None) => format!("1{:03} {errno}", errno.number()),
            (Some(errno), Some(reason)) => format!("1{:03} {errno}: {reason}", errno.number()),
        }
    }
}

fn guarded(line: &str) -> String {
    if line == "." {
        return " .".to_owned();
    }
    line.replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_code_has_three_digits_and_the_text_of_linux() {
        assert_eq!(encoded(&Reply::success()), "1000 Success\n");
        assert_eq!(encoded(&Reply::failure(Errno::EEXIST)), "1017 File exists\n");
        assert_eq!(
            encoded(&Reply::failure(Errno::EPERM).because("no plugins here")),
            "1001 Operation not permitted: no plugins here\n"
        );
    }

    #[test]
    fn a_block_ends_with_a_dot_even_when_the_command_failed() {
        assert_eq!(
            encoded(&Reply::data(["a", "b\nc"])),
            "0000 DATA END WITH '.'\na\nb\nc\n.\n1000 Success\n"
        );
        assert_eq!(
            encoded(&Reply::empty().but(Errno::ENXIO)),
            "0000 DATA END WITH '.'\n.\n1006 No such device or address\n"
        );
    }

    #[test]
    fn data_can_neither_end_its_block_nor_move_the_cursor() {
        assert_eq!(
            encoded(&Reply::data(["x\n.\n1000 Success", "\x1b[2J\r"])),
            "0000 DATA END WITH '.'\nx\n .\n1000 Success\n?[2J?\n.\n1000 Success\n"
        );
    }
}
