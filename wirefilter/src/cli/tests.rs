//! Command lines.

use super::*;

fn parsed(words: &str) -> Result<Arguments, clap::Error> {
    Arguments::parse_from_words(words.split_whitespace().map(OsString::from))
}

fn settings(words: &str) -> Vec<(Field, String)> {
    let arguments = parsed(words).unwrap();
    arguments.settings().map(|(field, value)| (field, value.to_owned())).collect()
}

#[test]
fn options_are_written_in_every_way_that_vde_takes() {
    for words in ["-l 10", "-l10", "--loss 10", "--loss=10", "-loss 10", "-loss=10"] {
        assert_eq!(settings(words), [(Field::Loss, "10".to_owned())], "{words}");
    }
    let all = settings("-Nl5 -sp 7 --de 3 -ch 100 -l RL2 -D=4");
    let all: Vec<_> = all.iter().map(|(field, value)| (*field, &**value)).collect();
    assert_eq!(
        all,
        [
            (Field::Loss, "5"),
            (Field::Loss, "RL2"),
            (Field::Delay, "3"),
            (Field::Dup, "4"),
            (Field::Speed, "7"),
            (Field::ChanBufSize, "100"),
            (Field::Fifo, "0"),
        ]
    );
    assert_eq!(settings("--capacity 5"), settings("-c5"));
    assert_eq!(settings("--bandwidth 5"), settings("-b5"));
    assert_eq!(settings("--loss-corr 5"), [(Field::LossCorrelation, "5".to_owned())]);
}

#[test]
fn a_value_may_look_like_an_option() {
    assert_eq!(settings("-l -5"), [(Field::Loss, "-5".to_owned())]);
    assert_eq!(settings("--loss -5 -N").len(), 2);
    assert_eq!(parsed("--blinkid=-x").unwrap().blinkid, Some("-x".to_owned()));
}

#[test]
fn what_is_ambiguous_or_unknown_is_refused() {
    for words in
        ["--lo 10", "-lo 10", "--bogus", "-x", "one", "a b c", "-v a:b c d", "--mgmtmode 9"]
    {
        assert!(parsed(words).is_err(), "{words}");
    }
}

#[test]
fn sides_are_pipes_switches_or_standard_input_and_output() {
    let sides = |words| parsed(words).unwrap().sides();
    let switch = |path: &str, port| Place::Switch { path: Some(path.into()), port };
    assert_eq!(sides(""), Ok(Sides::Pipes));
    let both = Sides::Named { left: switch("/tmp/a", None), right: switch("b", None) };
    assert_eq!(sides("-v /tmp/a:b"), Ok(both.clone()));
    assert_eq!(sides("vde:///tmp/a b"), Ok(both));
    assert_eq!(
        sides("/tmp/a[7] vde://[port=3]"),
        Ok(Sides::Named {
            left: switch("/tmp/a", Some(7)),
            right: Place::Switch { path: None, port: Some(3) }
        })
    );
    assert_eq!(sides("-v -:b"), Ok(Sides::Named { left: Place::Stdio, right: switch("b", None) }));
    for (words, error) in [
        ("-v a", "'a' is not two switches with a colon between; write A:B, or give two VNLs"),
        (
            "-v a:b:c",
            "'a:b:c' is not two switches with a colon between; write A:B, or give two VNLs",
        ),
        ("tap://x a", "'tap://x' is no network of a switch; only vde:// and - can be connected"),
        ("a[x] b", "'[x]' is no port; write its number, as in [7]"),
        ("-v -:-", "both sides cannot be standard input and output"),
    ] {
        assert_eq!(sides(words).unwrap_err().to_string(), error);
    }
}

#[test]
fn own_options_are_read() {
    let arguments = parsed("--seed 7 --stats=json --distribution x --daemon").unwrap();
    assert_eq!((arguments.seed, arguments.stats), (Some(7), Some(StatsFormat::Json)));
    assert_eq!(parsed("--stats").unwrap().stats, Some(StatsFormat::Text));
    assert_eq!(parsed("").unwrap().mgmtmode, 0o700);
}
