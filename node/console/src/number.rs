//! Numbers and addresses as C's `atoi` and `scanf` take them: scripts were written against those.
//!
//! Blanks before, a sign, and anything after a number are accepted. One thing is not taken over:
//! no digits at all is never 0. Numbers beyond 64 bits saturate.

use ether::MacAddr;

const BLANK: [u8; 6] = *b" \t\n\x0b\x0c\r";

/// `text` without the blanks before it.
pub(crate) fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && BLANK.contains(first)
    {
        text = rest;
    }
    text
}

/// `text` without the blanks after it.
pub(crate) fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text
        && BLANK.contains(last)
    {
        text = rest;
    }
    text
}

/// A decimal number, as `atoi` reads it; whatever follows is ignored.
pub(crate) fn decimal(text: &[u8]) -> Option<i64> {
    let (negative, digits) = sign(trim_start(text));
    Some(read(digits, 10, negative)?.0)
}

/// `N` numbers in a row, each as `%i` reads it: `0x` and `0` say hexadecimal and octal.
pub(crate) fn integers<const N: usize>(mut text: &[u8]) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    for (index, number) in numbers.iter_mut().enumerate() {
        // `08 1` is not the two numbers 0 and 8, as scanf would have it.
        if index > 0 && !text.first().is_some_and(|next| BLANK.contains(next)) {
            return None;
        }
        (*number, text) = integer(text)?;
    }
    Some(numbers)
}

/// One number as `%i` reads it, and what follows.
pub(crate) fn integer(text: &[u8]) -> Option<(i64, &[u8])> {
    let (negative, digits) = sign(trim_start(text));
    match digits {
        [b'0', b'x' | b'X', rest @ ..] => read(rest, 16, negative),
        [b'0', ..] => read(digits, 8, negative),
        _ => read(digits, 10, negative),
    }
}

/// A MAC address of six hexadecimal octets between colons, dots or hyphens, and what follows it,
/// which is nothing or begins with a blank.
pub(crate) fn mac(text: &[u8]) -> Option<(MacAddr, &[u8])> {
    let mut octets = [0; 6];
    let mut rest = trim_start(text);
    let separator = *rest.iter().find(|octet| b":.-".contains(octet))?;
    for (index, octet) in octets.iter_mut().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix(&[separator])?;
        }
        let (value, after) = read(rest, 16, false)?;
        *octet = u8::try_from(value).ok()?;
        rest = after;
    }
    let complete = rest.first().is_none_or(|next| BLANK.contains(next));
    complete.then_some((MacAddr(octets), rest))
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

fn read(text: &[u8], radix: u32, negative: bool) -> Option<(i64, &[u8])> {
    let mut value = 0i64;
    let mut len = 0;
    for octet in text {
        let Some(digit) = char::from(*octet).to_digit(radix) else {
            break;
        };
        value = value.saturating_mul(i64::from(radix)).saturating_add(i64::from(digit));
        len += 1;
    }
    let value = if negative { -value } else { value };
    (len > 0).then_some((value, &text[len..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_as_atoi_does_but_nothing_is_not_zero() {
        for (text, number) in [
            ("7", Some(7)),
            (" \t+7 8", Some(7)),
            ("-7x", Some(-7)),
            ("0x10", Some(0)),
            ("010", Some(10)),
            ("", None),
            ("x", None),
            ("-", None),
            ("99999999999999999999999", Some(i64::MAX)),
        ] {
            assert_eq!(decimal(text.as_bytes()), number, "{text:?}");
        }
    }

    #[test]
    fn integers_are_read_as_scanf_does() {
        assert_eq!(integers(b"3 4"), Some([3, 4]));
        assert_eq!(integers(b"0x1F 010 junk"), Some([31, 8]));
        assert_eq!(integers(b"3 -4"), Some([3, -4]));
        assert_eq!(integers::<2>(b"3"), None);
        assert_eq!(integers::<2>(b"3,4"), None);
        assert_eq!(integers::<1>(b"0x"), None);
        assert_eq!(integers::<2>(b"08 1"), None, "8 is no octal digit");
    }

    #[test]
    fn addresses_have_one_kind_of_separator() {
        let station = MacAddr([2, 0, 0, 0, 0, 0xb]);
        for text in ["02:00:00:00:00:0B", "2.0.0.0.0.b", "  2-0-0-0-0-b"] {
            assert_eq!(mac(text.as_bytes()), Some((station, &b""[..])), "{text:?}");
        }
        assert_eq!(mac(b"2:0:0:0:0:b 5"), Some((station, &b" 5"[..])));
        for text in ["", "x", "2:0:0:0:0", "2:0:0:0:0:b:7", "2:0.0:0:0:b", "102:0:0:0:0:b"] {
            assert_eq!(mac(text.as_bytes()), None, "{text:?}");
        }
    }
}
