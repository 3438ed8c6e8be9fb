//! Directories: made, taken over, refused, and left clean.

use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};

use tempfile::{TempDir, tempdir};

use super::*;
use crate::{Server, ServerConfig};

fn bind(directory: &Path) -> Result<Server, BindError> {
    Server::bind(ServerConfig::new(directory))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A directory as a killed switch leaves it, with its control socket.
fn crashed() -> (TempDir, PathBuf) {
    let parent = tempdir().unwrap();
    let directory = parent.path().join("sw");
    fs::create_dir(&directory).unwrap();
    drop(UnixListener::bind(directory.join("ctl")).unwrap());
    (parent, directory)
}

/// A process number that no process has: the highest one is never given out.
const DEAD: &str = ".4194304-00000";

#[test]
fn each_mode_is_derived_from_the_other() {
    let resolve = |socket, directory| {
        let modes = Modes::resolve(socket, directory);
        (modes.socket, modes.directory)
    };
    assert_eq!(resolve(None, None), (0o600, 0o2700));
    assert_eq!(resolve(Some(0o600), None), (0o600, 0o2700));
    assert_eq!(resolve(Some(0o660), None), (0o660, 0o2770));
    assert_eq!(resolve(Some(0o666), None), (0o666, 0o2777));
    assert_eq!(resolve(Some(0o640), None), (0o640, 0o2750));
    assert_eq!(resolve(None, Some(0o755)), (0o644, 0o755));
    assert_eq!(resolve(Some(0o666), Some(0o2711)), (0o666, 0o2711));
}

#[tokio::test]
async fn a_new_directory_is_private_and_gone_afterwards() {
    let parent = tempdir().unwrap();
    let directory = parent.path().join("sw");
    let server = bind(&directory).unwrap();
    assert_eq!(mode(&directory), 0o2700);
    assert_eq!(mode(&directory.join("ctl")), 0o600);
    drop(server);
    assert!(!directory.exists());
}

#[tokio::test]
async fn an_existing_directory_stays_and_keeps_its_mode() {
    let parent = tempdir().unwrap();
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o751)).unwrap();
    fs::write(parent.path().join("notes"), "").unwrap();
    let config = ServerConfig { mode: Some(0o666), ..ServerConfig::new(parent.path()) };
    drop(Server::bind(config).unwrap());
    assert_eq!(mode(parent.path()), 0o751);
    assert!(parent.path().join("notes").exists());
    assert!(!parent.path().join("ctl").exists());
}

#[tokio::test]
async fn an_existing_directory_of_a_switch_gets_the_wanted_mode() {
    let parent = tempdir().unwrap();
    let config = ServerConfig { mode: Some(0o660), ..ServerConfig::new(parent.path()) };
    let _server = Server::bind(config).unwrap();
    assert_eq!(mode(parent.path()), 0o2770);
}

#[tokio::test]
async fn the_sockets_of_a_crash_are_replaced() {
    let (_parent, directory) = crashed();
    for name in ["plug.3", "001.7", DEAD] {
        drop(UnixDatagram::bind(directory.join(name)).unwrap());
    }
    let server = bind(&directory).unwrap();
    let names: Vec<_> = fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["ctl"]);
    drop(server);
    assert!(!directory.exists(), "a switch had made it, so a switch removes it");
}

#[tokio::test]
async fn sockets_that_somebody_still_holds_are_left_alone() {
    let (_parent, directory) = crashed();
    let _answering = UnixDatagram::bind(directory.join(DEAD)).unwrap();
    let _of_switch = UnixDatagram::bind(directory.join("plug.3")).unwrap();
    let own = format!(".{:05}-00000", std::process::id());
    drop(UnixDatagram::bind(directory.join(&own)).unwrap());
    fs::write(directory.join(".4194304-00001"), "no socket").unwrap();
    let _server = bind(&directory).unwrap();
    for name in [DEAD, "plug.3", &own, ".4194304-00001"] {
        assert!(directory.join(name).exists(), "{name} was removed");
    }
}

#[tokio::test]
async fn a_directory_that_is_served_names_its_holder() {
    let parent = tempdir().unwrap();
    let directory = parent.path().join("sw");
    let server = bind(&directory).unwrap();
    let error = bind(&directory).unwrap_err();
    let BindError::Taken { holder, .. } = &error else { panic!("{error}") };
    assert_eq!(holder.pid, i32::try_from(std::process::id()).ok());
    let name = fs::read_to_string("/proc/self/comm").unwrap();
    assert!(error.to_string().contains(name.trim()), "{error}");
    // The refused one has harmed nothing.
    assert!(directory.join("ctl").exists());
    drop(server);
    bind(&directory).unwrap();
}

#[tokio::test]
async fn two_switches_cannot_start_in_one_directory_at_once() {
    let parent = tempdir().unwrap();
    let handle = fs::File::open(parent.path()).unwrap();
    rustix::fs::flock(&handle, FlockOperation::NonBlockingLockExclusive).unwrap();
    assert!(matches!(bind(parent.path()), Err(BindError::Starting { .. })));
    drop(handle);
    bind(parent.path()).unwrap();
}

#[tokio::test]
async fn a_socket_that_took_our_name_is_not_removed() {
    let parent = tempdir().unwrap();
    let server = bind(parent.path()).unwrap();
    let control = parent.path().join("ctl");
    fs::remove_file(&control).unwrap();
    let other = bind(parent.path()).unwrap();
    drop(server);
    assert!(control.exists());
    drop(other);
    assert!(!control.exists());
}

#[tokio::test]
async fn what_cannot_be_served_says_why() {
    let parent = tempdir().unwrap();
    let len = parent.path().as_os_str().len();
    let fits = parent.path().join("d".repeat(MAX_DIRECTORY - len - 1));
    drop(bind(&fits).unwrap());
    let long = parent.path().join("d".repeat(MAX_DIRECTORY - len));
    assert!(matches!(
        bind(&long),
        Err(BindError::TooLong { len, limit: MAX_DIRECTORY, .. }) if len == MAX_DIRECTORY + 1
    ));
    assert!(!long.exists());

    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(bind(&file), Err(BindError::NotADirectory { .. })));
    let orphan = parent.path().join("missing/sw");
    assert!(matches!(bind(&orphan), Err(BindError::NoParent { .. })));

    let squatted = parent.path().join("squatted");
    fs::create_dir(&squatted).unwrap();
    fs::write(squatted.join("ctl"), "precious").unwrap();
    assert!(matches!(bind(&squatted), Err(BindError::NotAControlSocket { .. })));
    assert!(squatted.join("ctl").exists());

    let config = ServerConfig {
        group: Some("no such group".to_owned()),
        ..ServerConfig::new(parent.path().join("sw"))
    };
    let error = Server::bind(config).unwrap_err();
    assert!(matches!(error, BindError::UnknownGroup { .. }), "{error}");
}

#[test]
fn groups_are_known_by_name_and_number() {
    assert_eq!(resolve_group("root").unwrap(), 0);
    assert_eq!(resolve_group("4711").unwrap(), 4711);
    assert!(resolve_group("nul\0inside").is_err());
}

#[test]
fn ten_thousand_exchanged_names_never_lead_to_another_file() {
    use std::sync::atomic::{AtomicBool, Ordering};

    let parent = tempdir().unwrap();
    let (victim, path) = (parent.path().join("victim"), parent.path().join("socket"));
    fs::write(&victim, "secret").unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Somebody who may write in the directory puts a link in the socket's place, again and again.
        scope.spawn(|| {
            let link = parent.path().join("link");
            while !over.load(Ordering::Relaxed) {
                std::os::unix::fs::symlink(&victim, &link).unwrap();
                fs::rename(&link, &path).unwrap();
                std::thread::yield_now();
                let _ = fs::remove_file(&path);
            }
        });
        let mut admitted = 0;
        for _ in 0..10_000 {
            let socket = UnixDatagram::unbound().unwrap();
            let Ok(file) = SocketFile::bind(socket.as_fd(), path.clone()) else { continue };
            let ownership = Ownership { owner: None, group: None, mode: 0o666 };
            admitted += usize::from(file.admit(ownership).is_ok());
        }
        over.store(true, Ordering::Relaxed);
        assert!(admitted > 0, "no socket was ever set up");
    });
    assert_eq!(mode(&victim), 0o600);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "secret");
}

#[tokio::test]
async fn the_socket_of_a_client_in_the_midst_of_its_request_goes_with_the_directory() {
    let parent = tempdir().unwrap();
    let directory = parent.path().join("sw");
    let server = bind(&directory).unwrap();
    // A client that lives makes its socket before it says what it wants.
    let own = format!(".{:05}-00000", std::process::id());
    let _client = UnixDatagram::bind(directory.join(&own)).unwrap();
    let _stream = tokio::net::UnixStream::connect(directory.join("ctl")).await.unwrap();
    let handshake = server.accept().await.unwrap();
    drop(server);
    drop(handshake);
    assert!(!directory.exists());
}

#[tokio::test]
async fn a_place_where_no_directory_can_be_made_is_told_from_a_missing_one() {
    let refused = bind(Path::new("/proc/sw")).unwrap_err();
    assert!(matches!(refused, BindError::BarrenParent { .. }), "{refused}");
    let told = "no directory can be made in /proc, so /proc/sw cannot be; choose another place";
    assert_eq!(refused.to_string(), told);
    let parent = tempdir().unwrap();
    let refused = bind(&parent.path().join("missing/sw")).unwrap_err();
    assert!(matches!(refused, BindError::NoParent { .. }), "{refused}");
}
