//! Enough of Rust's lexical structure to look for words in code and not in comments or texts.

/// The source with comments and the contents of string and character literals left out.
pub(crate) fn code_only(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        if let Some(skipped) = skip_text(rest) {
            code.push(' ');
            // Line numbers and the shape of lines stay.
            code.extend(rest[..skipped].chars().filter(|&c| c == '\n'));
            rest = &rest[skipped..];
        } else {
            // A word is taken whole: the `r` of `for"` does not open a raw string.
            let word = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            let taken = word.max(first.len_utf8());
            code.push_str(&rest[..taken]);
            rest = &rest[taken..];
        }
    }
    code
}

/// Whether `word` stands in the code as a word of its own.
pub(crate) fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(start, _)| {
        let before = code[..start].chars().next_back();
        let after = code[start + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the comment or literal that `rest` begins with.
fn skip_text(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    let prefix = ["br", "cr", "b", "c", "r", ""]
        .into_iter()
        .find(|prefix| rest.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(['"', '#'])));
    if let Some(prefix) = prefix {
        let literal = &rest[prefix.len()..];
        if prefix.ends_with('r') {
            return raw_string(literal).map(|len| prefix.len() + len);
        }
        if literal.starts_with('"') {
            return Some(prefix.len() + quoted(literal, '"'));
        }
    }
    character(rest)
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// `#"…"#` with any number of hashes; nothing for a raw identifier such as `r#type`.
fn raw_string(literal: &str) -> Option<usize> {
    let hashes = literal.len() - literal.trim_start_matches('#').len();
    let inner = literal[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let len = inner.find(&end).map_or(inner.len(), |at| at + end.len());
    Some(hashes + 1 + len)
}

/// The length of a literal with escapes, both quotes included.
fn quoted(literal: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in literal.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    literal.len()
}

/// A character literal; nothing for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let literal = rest.strip_prefix('b').unwrap_or(rest);
    let prefix = rest.len() - literal.len();
    let mut inner = literal.strip_prefix('\'')?.chars();
    let first = inner.next()?;
    (first == '\\' || inner.next() == Some('\'')).then(|| prefix + quoted(literal, '\''))
}

#[test]
fn comments_and_literals_are_left_out() {
    let source = r##"
        // unsafe in a comment
        /* unsafe /* nested */ unsafe */
        let a = "unsafe \" unsafe"; let b = r#"unsafe " unsafe"#; let c = b"unsafe";
        let d = '"'; let e: &'static str = "unsafe"; let f = '\''; let g = b'"';
        let r#type = 1;
    "##;
    let code = code_only(source);
    assert!(!names(&code, "unsafe"), "{code}");
    for kept in ["let a", "let b", "let c", "let d", "let e", "static", "let f", "let g", "type"] {
        assert!(code.contains(kept), "{kept} is lost in {code}");
    }
    assert_eq!(code.lines().count(), source.lines().count());
}

#[test]
fn code_is_kept_and_words_are_whole() {
    let code = code_only("#![forbid(unsafe_code)] fn a<'a>(x: &'a u8) { unsafe { *x } }");
    assert!(names(&code, "unsafe"));
    assert!(!names("#![forbid(unsafe_code)]", "unsafe"));
    assert!(!names("an_unsafe", "unsafe"));
    assert!(!names("", "unsafe"));
}
