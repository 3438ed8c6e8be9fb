//! Users and groups as the system's databases know them.

use std::ffi::CString;

use console::{Account, Errno};
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

/// Whether a user belongs to a group, by its own entry or by the group's.
pub(crate) fn is_member(user: u32, group: u32) -> bool {
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(user)) else {
        return false;
    };
    let Ok(name) = CString::new(user.name) else {
        return false;
    };
    getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&Gid::from_raw(group)))
}

/// A user's name, or its number where there is no name.
pub(crate) fn user_name(user: u32) -> String {
    match User::from_uid(Uid::from_raw(user)) {
        Ok(Some(user)) => user.name,
        _ => user.to_string(),
    }
}

/// A group's name, or its number where there is no name.
pub(crate) fn group_name(group: u32) -> String {
    match Group::from_gid(Gid::from_raw(group)) {
        Ok(Some(group)) => group.name,
        _ => group.to_string(),
    }
}

/// The user that an operator means; none for anyone.
pub(crate) fn find_user(account: &Account) -> Result<Option<u32>, Errno> {
    find(account, |name| User::from_name(name).ok()?.map(|user| user.uid.as_raw()))
}

/// The group that an operator means; none for anyone.
pub(crate) fn find_group(account: &Account) -> Result<Option<u32>, Errno> {
    find(account, |name| Group::from_name(name).ok()?.map(|group| group.gid.as_raw()))
}

fn find(account: &Account, by_name: impl Fn(&str) -> Option<u32>) -> Result<Option<u32>, Errno> {
    match account {
        Account::Anyone => Ok(None),
        Account::Lookup { name, number } => {
            by_name(name).or(*number).map(Some).ok_or(Errno::EINVAL)
        }
    }
}

/// The number of a group that is given by name or number.
pub(crate) fn group_number(text: &str) -> Option<u32> {
    match Group::from_name(text) {
        Ok(Some(group)) => Some(group.gid.as_raw()),
        _ => text.parse().ok(),
    }
}
