//! What a command answers: data lines, if it has any, and a code. The form is VDE's: `0000 DATA
//! END WITH '.'`, lines, `.`; then `1000 Success`, or `1`, the three digits of the error's number
//! and its text, behind which stands what was wrong.

use console::Errno;

/// The answer to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    lines: Option<Vec<String>>,
    failure: Option<Failure>,
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub errno: Errno,
    /// For people: what is wrong with which word. Empty when the number says it all.
    pub reason: String,
}

impl Failure {
    /// An argument that cannot be used.
    pub fn invalid(reason: impl ToString) -> Self {
        Self { errno: Errno::EINVAL, reason: reason.to_string() }
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self { errno, reason: String::new() }
    }
}

impl Reply {
    /// Done, with nothing to tell.
    pub const fn success() -> Self {
        Self { lines: None, failure: None }
    }

    /// Not done.
    pub fn failure(failure: impl Into<Failure>) -> Self {
        Self { lines: None, failure: Some(failure.into()) }
    }

    /// Done, and this is what was asked for. Control characters become `?`, and a line that is a
    /// single dot gets a blank before it, so that nothing ends the block but its end.
    pub fn data(lines: impl IntoIterator<Item = String>) -> Self {
        Self { lines: Some(lines.into_iter().map(guarded).collect()), failure: None }
    }

    /// The same block, empty if there is none, but the command failed.
    #[must_use]
    pub fn but(mut self, failure: impl Into<Failure>) -> Self {
        self.lines.get_or_insert_default();
        self.failure = Some(failure.into());
        self
    }

    /// Whether it was done.
    pub const fn is_success(&self) -> bool {
        self.failure.is_none()
    }

    /// The last line: `1000 Success`, `1022 Invalid argument: loss: 'abc' is not a number`.
    pub fn status(&self) -> String {
        match &self.failure {
            None => "1000 Success".to_owned(),
            Some(Failure { errno, reason }) if reason.is_empty() => {
                format!("1{:03} {errno}", errno.number())
            }
            Some(Failure { errno, reason }) => {
                format!("1{:03} {errno}: {}", errno.number(), guarded(reason.clone()))
            }
        }
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
}

impl From<Result<(), Failure>> for Reply {
    fn from(result: Result<(), Failure>) -> Self {
        result.map_or_else(Self::failure, |()| Self::success())
    }
}

fn guarded(line: String) -> String {
    if line == "." {
        return " .".to_owned();
    }
    if line.contains(char::is_control) { line.replace(char::is_control, "?") } else { line }
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
    fn a_code_has_three_digits_a_text_and_the_reason() {
        assert_eq!(encoded(&Reply::success()), "1000 Success\n");
        assert_eq!(encoded(&Reply::failure(Errno::ENOSYS)), "1038 Function not implemented\n");
        assert_eq!(
            encoded(&Reply::failure(Failure::invalid("'x\n' is not a number"))),
            "1022 Invalid argument: 'x?' is not a number\n"
        );
    }

    #[test]
    fn nothing_in_a_block_can_end_it() {
        let lines = ["a", ".", "b\n."].map(str::to_owned);
        assert_eq!(
            encoded(&Reply::data(lines)),
            "0000 DATA END WITH '.'\na\n .\nb?.\n.\n1000 Success\n"
        );
        assert_eq!(
            encoded(&Reply::success().but(Errno::ENOENT)),
            "0000 DATA END WITH '.'\n.\n1002 No such file or directory\n"
        );
    }
}
