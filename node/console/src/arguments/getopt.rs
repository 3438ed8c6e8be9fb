//! The words of a command line cut into options, as glibc's `getopt_long_only(3)` cuts them.
//!
//! A long option has one hyphen or two, takes its value behind `=` or from the next word, and may
//! be shortened as long as one option alone begins so. A word with one hyphen that is no long
//! option is a bundle of short ones. `--` ends the options.

use super::ArgumentError;

/// An option: its long name, its letter, whether it takes a value.
pub(super) struct Opt<T> {
    pub(super) name: &'static str,
    pub(super) letter: Option<char>,
    pub(super) value: bool,
    /// Whether it must be written in full, so that no beginning of another becomes ambiguous.
    pub(super) whole: bool,
    pub(super) means: T,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<T> {
    pub(super) means: T,
    /// The option as it was written, for messages.
    pub(super) written: String,
    /// Empty for an option without one.
    pub(super) value: String,
}

/// The options of `words` in their order up to the first error, and the words that are none.
pub(super) fn getopt<T: Copy>(
    options: &[Opt<T>],
    words: impl IntoIterator<Item = String>,
) -> (Vec<Found<T>>, Result<Vec<String>, ArgumentError>) {
    let mut found = Vec::new();
    let positional = scan(options, words.into_iter(), &mut found);
    (found, positional)
}

fn scan<T: Copy>(
    options: &[Opt<T>],
    mut words: impl Iterator<Item = String>,
    found: &mut Vec<Found<T>>,
) -> Result<Vec<String>, ArgumentError> {
    let mut positional = Vec::new();
    while let Some(word) = words.next() {
        let Some(body) = word.strip_prefix('-').filter(|body| !body.is_empty()) else {
            positional.push(word);
            continue;
        };
        if word == "--" {
            positional.extend(words);
            break;
        }
        let (hyphens, name) = match body.strip_prefix('-') {
            Some(name) => ("--", name),
            None => ("-", body),
        };
        let first = name.chars().next();
        let short = hyphens == "-" && options.iter().any(|it| it.letter == first);
        // One letter that is an option is that option, however many long ones begin with it.
        let alone = short && name.chars().count() == 1;
        if !alone && let Some(option) = long(options, hyphens, name)? {
            found.push(take_long(option, hyphens, name, &mut words)?);
        } else if short {
            bundle(options, name, &mut words, found)?;
        } else {
            return Err(ArgumentError::Unrecognized(word));
        }
    }
    Ok(positional)
}

/// The long option that `text` means, if any.
fn long<'a, T>(
    options: &'a [Opt<T>],
    hyphens: &str,
    text: &str,
) -> Result<Option<&'a Opt<T>>, ArgumentError> {
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    if let Some(option) = options.iter().find(|it| it.name == name) {
        return Ok(Some(option));
    }
    let candidates: Vec<_> =
        options.iter().filter(|it| !it.whole && it.name.starts_with(name)).collect();
    if candidates.len() > 1 {
        return Err(ArgumentError::Ambiguous {
            option: format!("{hyphens}{text}"),
            possibilities: candidates.iter().map(|it| format!("{hyphens}{}", it.name)).collect(),
        });
    }
    Ok(candidates.first().copied())
}

fn take_long<T: Copy>(
    option: &Opt<T>,
    hyphens: &str,
    text: &str,
    words: &mut impl Iterator<Item = String>,
) -> Result<Found<T>, ArgumentError> {
    let written = format!("{hyphens}{}", option.name);
    let value = match (option.value, text.split_once('=')) {
        (false, Some(_)) => return Err(ArgumentError::UnwantedValue(written)),
        (false, None) => String::new(),
        (true, Some((_, value))) => value.to_owned(),
        (true, None) => words.next().ok_or_else(|| ArgumentError::MissingValue(written.clone()))?,
    };
    Ok(Found { means: option.means, written, value })
}

/// `-xFn4`: letters until one takes the rest, or the next word, as its value.
fn bundle<T: Copy>(
    options: &[Opt<T>],
    text: &str,
    words: &mut impl Iterator<Item = String>,
    found: &mut Vec<Found<T>>,
) -> Result<(), ArgumentError> {
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let option = options
            .iter()
            .find(|it| it.letter == Some(letter))
            .ok_or(ArgumentError::InvalidLetter(letter))?;
        let value = if !option.value {
            String::new()
        } else if letters.as_str().is_empty() {
            words.next().ok_or(ArgumentError::MissingLetterValue(letter))?
        } else {
            let rest = letters.as_str().to_owned();
            letters = "".chars();
            rest
        };
        found.push(Found { means: option.means, written: format!("-{letter}"), value });
    }
    Ok(())
}
