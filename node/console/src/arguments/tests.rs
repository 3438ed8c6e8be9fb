//! The command line, word by word. Texts of errors are glibc's, as `vde_switch` prints them.

use proptest::prelude::*;

use super::*;

fn parse(line: &str) -> Result<Invocation, ArgumentError> {
    Invocation::parse(line.split_whitespace().map(OsString::from))
}

fn run(line: &str) -> SwitchArguments {
    match parse(line) {
        Ok(Invocation::Run(arguments)) => *arguments,
        other => panic!("{line:?} became {other:?}"),
    }
}

fn error(line: &str) -> String {
    parse(line).expect_err("the line is wrong").to_string()
}

#[test]
fn every_way_to_write_an_option_means_the_same() {
    let expected = run("--sock /tmp/x");
    assert_eq!(expected.sock, Some(PathBuf::from("/tmp/x")));
    for line in [
        "-sock /tmp/x",
        "--sock=/tmp/x",
        "-sock=/tmp/x",
        "-s /tmp/x",
        "-s/tmp/x",
        "-s=/tmp/x",
        "--s /tmp/x",
        "-so /tmp/x",
        "--vdesock /tmp/x",
        "-vdesock /tmp/x",
        "--unix=/tmp/x",
        "-u /tmp/x",
    ] {
        assert_eq!(run(line), expected, "{line}");
    }
}

#[test]
fn letters_may_be_bundled_until_one_takes_the_rest() {
    let expected = run("--hub --fstp --numports 4");
    for line in ["-xFn4", "-xFn 4", "-Fx --num=4", "-hu -fs -num=4"] {
        assert_eq!(run(line), expected, "{line}");
    }
    let daemon = run("-dp /run/pid");
    assert!(daemon.daemon);
    assert_eq!(daemon.pidfile, Some(PathBuf::from("/run/pid")));
}

#[test]
fn the_lines_people_use_are_understood() {
    let line = run("-sock /tmp/vde.ctl -tap vde");
    assert_eq!(line.taps, ["vde"]);
    let line = run(
        "--tap tap0 --daemon --group vde2-net --sock /run/vde2_tap0.ctl --mod 666 --mgmtmode 770 \
         --mgmt /run/vde2_tap0.mgmt --pidfile /run/vde2_tap0.pid -t tap1",
    );
    assert_eq!(line.taps, ["tap0", "tap1"]);
    assert_eq!(line.mode, Some(0o666));
    assert_eq!(line.mgmtmode, 0o770);
    assert_eq!(line.mgmt, Some(PathBuf::from("/run/vde2_tap0.mgmt")));
    assert_eq!(line.group.as_deref(), Some("vde2-net"));
    let line =
        run("-d -M /m -f /rc --mgmtgroup g --nostdin -D 3 --hashsize 0x40 --priority 0x12345");
    assert_eq!(line.rcfile, Some(PathBuf::from("/rc")));
    assert_eq!(line.mgmtgroup.as_deref(), Some("g"));
    assert!(line.nostdin);
    assert_eq!(line.hashsize.get(), 64);
    assert_eq!(line.priority, 0x2345);
}

#[test]
fn without_arguments_the_defaults_are_those_of_vde() {
    let defaults = run("");
    assert_eq!(defaults, SwitchArguments::default());
    assert_eq!(defaults.numports.get(), 32);
    assert_eq!(defaults.hashsize.get(), 128);
    assert_eq!(defaults.priority, 32768);
    assert_eq!(defaults.permissions(), (0o600, 0o2700));
}

#[test]
fn numbers_are_read_as_the_recorded_switch_read_them() {
    for (line, ports) in [("-n 0x10", 16), ("-n 010", 8), ("-n4", 4)] {
        assert_eq!(run(line).numports.get(), ports, "{line}");
    }
    for text in ["1:2:3:4:5:6", "1.2.3.4.5.6", "01-02-03-04-05-06"] {
        let mac = run(&format!("--macaddr {text}")).macaddr;
        assert_eq!(mac, Some(MacAddr([1, 2, 3, 4, 5, 6])), "{text}");
    }
}

#[test]
fn permissions_follow_from_one_another_as_in_the_recorded_switch() {
    for (line, sockets, directory) in [
        ("-m 660", 0o660, 0o2770),
        ("--mod 666", 0o666, 0o2777),
        ("-mode 640", 0o640, 0o2750),
        ("-m 622", 0o622, 0o2733),
        ("-m 644", 0o644, 0o2755),
        ("-m 606", 0o606, 0o2707),
        ("-m 0", 0, 0o2000),
        ("--dirmode 755", 0o644, 0o755),
        ("-di 700", 0o600, 0o700),
        ("--dirmode 755 -m 600", 0o600, 0o755),
    ] {
        assert_eq!(run(line).permissions(), (sockets, directory), "{line}");
    }
}

#[test]
fn errors_are_told_in_the_words_of_getopt() {
    for (line, text) in [
        ("--nosuch", "unrecognized option '--nosuch'"),
        ("-q", "unrecognized option '-q'"),
        ("-é", "unrecognized option '-é'"),
        ("-xq", "invalid option -- 'q'"),
        ("-x=1", "invalid option -- '='"),
        ("-p", "option requires an argument -- 'p'"),
        ("-dp", "option requires an argument -- 'p'"),
        ("--pidfile", "option '--pidfile' requires an argument"),
        ("-pidfile", "option '-pidfile' requires an argument"),
        ("--hub=1", "option '--hub' doesn't allow an argument"),
        ("-hub=1", "option '-hub' doesn't allow an argument"),
        ("-mo 700", "option '-mo' is ambiguous; possibilities: '-mod' '-mode'"),
        ("--mo 700", "option '--mo' is ambiguous; possibilities: '--mod' '--mode'"),
        ("--p x", "option '--p' is ambiguous; possibilities: '--priority' '--pidfile'"),
        (
            "-m=600",
            "option '-m=600' is ambiguous; possibilities: '-macaddr' '-mod' '-mode' '-mgmt' \
             '-mgmtmode' '-mgmtgroup'",
        ),
        ("--h", "option '--h' is ambiguous; possibilities: '--help' '--hub' '--hashsize'"),
        (
            "--d",
            "option '--d' is ambiguous; possibilities: '--dirmode' '--daemon' '--debugclients'",
        ),
        ("-mg m", "option '-mg' is ambiguous; possibilities: '-mgmt' '-mgmtmode' '-mgmtgroup'"),
        ("--macaddr xx", "Invalid MAC Addr xx"),
        ("--macaddr 1:2:3", "Invalid MAC Addr 1:2:3"),
    ] {
        assert_eq!(error(line), text, "{line}");
    }
}

#[test]
fn a_value_that_cannot_be_read_is_told_and_never_replaced_by_the_default() {
    for line in [
        "-n x",
        "-nosuch",
        "-n 0",
        "-n -1",
        "-n 4x",
        "-n 99999999999",
        "--numports=",
        "--hashsize 0",
        "--hashsize -5",
        "--priority x",
        "--mode rwx",
        "--mode 0x1",
        "--mode +7",
        "--mgmtmode 9",
        "--dirmode 17777",
    ] {
        assert!(error(line).contains("is not a"), "{line}: {}", error(line));
    }
}

#[test]
fn a_word_that_is_no_option_is_refused() {
    for line in ["extra", "-x extra -n 4", "-- -x", "-", "-x -"] {
        assert!(matches!(parse(line), Err(ArgumentError::Positional(_))), "{line}");
    }
}

#[test]
fn help_and_version_win_over_what_follows() {
    for line in ["-h", "--help", "-help", "-he", "-x --help --nosuch", "-h extra"] {
        assert_eq!(parse(line), Ok(Invocation::Help), "{line}");
    }
    for line in ["-v", "--version", "-ver", "-v -n x"] {
        assert_eq!(parse(line), Ok(Invocation::Version), "{line}");
    }
    assert!(parse("--nosuch --help").is_err());
}

#[test]
fn the_usage_names_every_option() {
    for option in OPTIONS {
        // The short spelling of --mode is in no usage text, not even VDE's.
        if option.name != "mod" {
            let name = format!("--{} ", option.name);
            assert!(usage().contains(&name), "{name}");
        }
        if let Some(letter) = option.letter {
            assert!(usage().contains(&format!("  -{letter}, ")), "-{letter}");
        }
    }
}

proptest! {
    #[test]
    fn any_words_are_read_without_a_panic(
        words in prop::collection::vec("-{0,2}(sock|n|tap|mo|x|p)?=?\\PC{0,6}", 0..6),
    ) {
        let _ = Invocation::parse(words.into_iter().map(OsString::from));
    }
}

#[test]
fn what_makes_a_switch_a_node_is_written_in_full_and_spoils_no_beginning() {
    assert_eq!(run("--sock /tmp/x").node, None);
    let node = run("--name lab --listen [::]:7000 --control /run/c --state /var/s").node;
    assert_eq!(
        node,
        Some(NodeArguments {
            name: Some("lab".into()),
            listen: Some("[::]:7000".into()),
            control: Some("/run/c".into()),
            state: Some("/var/s".into()),
        })
    );
    // All of these are VDE's alone, as before.
    assert_eq!(run("--s /tmp/x").sock, Some(PathBuf::from("/tmp/x")));
    assert!(error("--n 4").contains("'--numports' '--nostdin'"));
    for line in ["--nam lab", "--lis 0:1", "--con /run/c", "--stat /x"] {
        assert!(matches!(parse(line), Err(ArgumentError::Unrecognized(_))), "{line}");
    }
}
