//! Lines and what they mean. What the recorded switch answers is in `tests/replay`.

use proptest::prelude::*;

use super::parse::switch_command;
use super::*;

fn switch(line: &str) -> SwitchCommand {
    match Command::parse(line.as_bytes()) {
        Ok(Some(Command::Switch(command))) => command,
        other => panic!("{line:?} became {other:?}"),
    }
}

fn errno(line: &str) -> Errno {
    Command::parse(line.as_bytes()).expect_err("the line is bad").errno
}

#[test]
fn the_whole_path_must_be_there_and_may_run_into_its_arguments() {
    assert_eq!(switch("port/create7"), switch("port/create 7"));
    assert_eq!(switch("port/createauto"), SwitchCommand::PortCreateauto);
    assert_eq!(errno("port/creat 7"), Errno::ENOSYS);
    assert_eq!(errno("port"), Errno::ENOSYS);
    assert_eq!(errno("Port/print"), Errno::ENOSYS);
}

#[test]
fn blanks_comments_and_line_ends_mean_nothing() {
    for line in ["", "  \t ", "# port/print", "\t#", "\r", "\0port/print"] {
        assert_eq!(Command::parse(line.as_bytes()), Ok(None), "{line:?}");
    }
    assert_eq!(switch(" \tvlan/print\r"), SwitchCommand::VlanPrint(None));
    assert_eq!(switch("vlan/print\x00 7"), SwitchCommand::VlanPrint(None));
}

#[test]
fn numbers_may_be_hexadecimal_where_vde_scans_several() {
    let expected = SwitchCommand::PortSetvlan { port: 16, vlan: Some(VlanId(8)) };
    assert_eq!(switch("port/setvlan 0x10 010 junk"), expected);
    assert_eq!(switch("vlan/create 010"), SwitchCommand::VlanCreate(VlanId(10)));
}

#[test]
fn a_missing_number_is_never_zero() {
    for line in [
        "port/create",
        "port/create x",
        "port/sethub",
        "port/remove x",
        "port/print all",
        "port/resetcounter x",
        "hash/setexpire",
        "hash/setgcint -1",
        "fstp/setfstp on",
        "vlan/print x",
        "vlan/remove",
        "vlan/remove 0",
    ] {
        assert_eq!(errno(line), Errno::EINVAL, "{line:?}");
    }
}

#[test]
fn an_account_is_a_name_a_number_or_everyone() {
    let lookup = |name: &str, number| Account::Lookup { name: name.to_owned(), number };
    for (text, user) in [
        ("root", lookup("root", None)),
        ("12345", lookup("12345", Some(12345))),
        ("12x", lookup("12x", None)),
        ("root extra ", lookup("root extra", None)),
        ("4294967295", lookup("4294967295", None)),
        ("ANY", Account::Anyone),
        ("NONE", Account::Anyone),
        ("none", lookup("none", None)),
    ] {
        let line = format!("port/setuser 3  {text}");
        assert_eq!(switch(&line), SwitchCommand::PortSetuser { port: 3, user });
    }
    assert_eq!(errno("port/setgroup 3 "), Errno::EINVAL);
    assert_eq!(errno("port/setgroup root 3"), Errno::EINVAL);
}

#[test]
fn an_address_is_found_in_a_vlan() {
    let expected = SwitchCommand::HashFind { mac: MacAddr([2, 0, 0, 0, 0, 10]), vlan: VlanId(7) };
    assert_eq!(switch("hash/find 2.0.0.0.0.A  7"), expected);
    assert_eq!(errno("hash/find 2.0.0.0.0.A 65536"), Errno::EINVAL);
}

#[test]
fn every_row_of_the_table_is_reached_by_its_own_path() {
    for row in &TABLE {
        let Some((word, _)) = row.word else { continue };
        let first =
            TABLE.iter().find(|other| other.word.is_some() && row.path.starts_with(other.path));
        assert_eq!(
            first.and_then(|row| row.word).map(|(word, _)| word),
            Some(word),
            "{} is hidden by an earlier row",
            row.path
        );
    }
}

#[test]
fn a_failure_has_a_block_exactly_where_the_table_says_so() {
    for row in &TABLE {
        let Some((word, block)) = row.word else { continue };
        for rest in ["", "1", "1 1", "1 1 1", "1 root", "2:0:0:0:0:a"] {
            if let Some(command) = switch_command(word, rest.as_bytes()) {
                let expected = failure(Errno::ENXIO, block == Block::Yes);
                assert_eq!(command.failure(Errno::ENXIO), expected, "{}", row.path);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_octets_are_read_without_a_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Command::parse(&line);
    }

    #[test]
    fn any_arguments_are_read_without_a_panic(
        row in 0..TABLE.len(),
        rest in "[ 0-9a-fx:.+-]{0,40}|\\PC{0,20}",
    ) {
        let _ = Command::parse(format!("{} {rest}", TABLE[row].path).as_bytes());
    }
}
