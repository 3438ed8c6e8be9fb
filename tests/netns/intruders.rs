//! What another user of a node's host can do to it: look when that is allowed, and nothing else.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::client::{self, MAGIC, address_of, path_octets, request};
use lab::frames::{BROADCAST, STATION_A, frame};
use lab::node::Setup;
use lab::process::built_program;
use lab::users::User;
use lab::{Client, Node, Scene, Suite};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Alice's group, by number: the machine's own database does not know her.
const GROUP_OF_ALICE: &str = "60001";

/// How much memory somebody who may only look can take.
const GROWTH: u64 = 4 << 20;

/// How often Bob tries to have his name mean Alice's socket; ten thousand times with `VDE_FULL=1`.
fn tries() -> usize {
    if std::env::var_os("VDE_FULL").is_some() { 10_000 } else { 1_000 }
}

pub(crate) fn trials(suite: Suite) -> Suite {
    suite
        .trial("who_may_look_at_a_node_cannot_change_it", &[], look)
        .trial("a_nodes_files_and_sockets_are_closed_to_other_users", &[], closed)
        .trial("a_line_without_end_is_cut_off_and_takes_no_memory", &[], endless)
        .trial("sockets_exchanged_in_a_race_never_reach_another_user", &[], races)
        .trial("secrets_are_in_no_log", &[], secrets)
        .trial("another_process_of_its_user_cannot_read_a_nodes_memory", &[], memory)
}

fn ask(socket: &Path, request: &str) -> Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER))?;
    // Who is turned away is told so before it has said anything.
    let _ = stream.write_all(format!("{{\"v\":1,\"command\":{request}}}\n").as_bytes());
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer)
}

fn view(node: &Node) -> PathBuf {
    node.control().with_extension("view")
}

fn look(scene: &Scene) -> Result<()> {
    scene.admit_everyone()?;
    let node = Setup::local("node").argument("--view-group").argument(GROUP_OF_ALICE);
    let node = node.start(scene)?;
    // The program where every user can run it.
    let program = scene.path("vdecable");
    fs::copy(built_program("vdecable")?, &program)?;
    let vdecable = |words: &[&str]| -> Result<(Option<i32>, String)> {
        User::Alice.run(|| {
            let output =
                Command::new(&program).arg("--control").arg(node.control()).args(words).output()?;
            let text = [output.stdout, output.stderr].concat();
            Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
        })
    };
    for views in ["status", "ports", "macs", "nodes", "cables", "wire"] {
        let (code, text) = vdecable(&[views])?;
        ensure!(code == Some(0), "Alice may not see {views}: {text}");
    }
    let key = node.id()?;
    for change in [&["trust", &key][..], &["connect", "192.0.2.1"], &["disconnect", "c1"]] {
        let (code, text) = vdecable(change)?;
        ensure!(code == Some(1), "{change:?} ended with {code:?}: {text}");
        ensure!(text.contains("may look at this node and not change it"), "{change:?}: {text}");
        ensure!(text.contains("--control-group"), "nobody says what to do: {text}");
    }
    let other = User::Bob.run(|| Ok(UnixStream::connect(view(&node)).is_ok()))?;
    ensure!(!other, "Bob, who is not in the group, may look");
    // One user's connections are counted, and others have room.
    let held = User::Alice.run(|| {
        let many: Vec<_> = (0..8).map(|_| UnixStream::connect(view(&node))).collect();
        Ok((ask(&view(&node), "\"status\""), many))
    })?;
    let said = held.0.context("Alice gets no word")?;
    ensure!(said.contains("8 connections"), "Alice has nine connections: {said}");
    ensure!(ask(&view(&node), "\"status\"")?.contains("\"ok\""), "root has no room");
    node.ask(&["status"]).map(drop)
}

fn closed(scene: &Scene) -> Result<()> {
    scene.admit_everyone()?;
    let [stream, dgram] = ["stream", "dgram"].map(|name| scene.path(name));
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let node = Setup::local("node")
        .argument("--stream")
        .argument(&text(&stream))
        .argument("--dgram")
        .argument(&text(&dgram))
        .start(scene)?;
    let key = node.state().join("identity.key");
    ensure!(fs::metadata(&key)?.permissions().mode() & 0o777 == 0o600, "the key's mode");
    User::Bob.run(|| {
        for socket in [node.control().to_owned(), node.socket().join("ctl"), stream.clone()] {
            ensure!(UnixStream::connect(&socket).is_err(), "Bob connects to {}", socket.display());
        }
        let datagram = UnixDatagram::unbound()?;
        ensure!(datagram.send_to(&[0; 60], &dgram).is_err(), "Bob sends to {}", dgram.display());
        for file in [&key, &node.state().join("trust.json"), &node.state().join("lock")] {
            ensure!(fs::File::open(file).is_err(), "Bob reads {}", file.display());
        }
        ensure!(fs::read_dir(node.state()).is_err(), "Bob lists the state directory");
        ensure!(fs::write(node.state().join("identity.new"), "x").is_err(), "Bob writes there");
        for socket in [&stream, &dgram, &node.control().to_owned()] {
            ensure!(fs::remove_file(socket).is_err(), "Bob removes {}", socket.display());
            let replaced = symlink("/dev/null", scene.path("mine"))
                .and_then(|()| fs::rename(scene.path("mine"), socket));
            ensure!(replaced.is_err(), "Bob replaces {}", socket.display());
        }
        Ok(())
    })
}

fn endless(scene: &Scene) -> Result<()> {
    scene.admit_everyone()?;
    let node = Setup::local("node").argument("--view-group").argument(GROUP_OF_ALICE);
    let mut node = node.start(scene)?;
    let before = node.process()?.resident_bytes()?;
    let answer = User::Alice.run(|| {
        let mut stream = UnixStream::connect(view(&node))?;
        stream.set_write_timeout(Some(ANSWER))?;
        stream.set_read_timeout(Some(ANSWER))?;
        let piece = vec![b'x'; 1 << 20];
        // A gigabyte, or as much of it as anybody listens to.
        let sent = (0..1024).take_while(|_| stream.write_all(&piece).is_ok()).count();
        ensure!(sent < 64, "{sent} MiB of one line were taken");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Ok(String::from_utf8_lossy(&answer).into_owned())
    })?;
    ensure!(answer.is_empty() || answer.contains("longer than"), "{answer}");
    let grown = node.process()?.resident_bytes()?.saturating_sub(before);
    ensure!(grown < GROWTH, "it has grown by {} KiB", grown >> 10);
    ensure!(ask(&view(&node), "\"status\"")?.contains("\"ok\""), "it answers no more");
    Ok(())
}

/// Bob's name means his own socket and Alice's by turns, as fast as he can; whatever the node sees
/// when, frames for him never go to her.
fn races(scene: &Scene) -> Result<()> {
    scene.admit_everyone()?;
    let mut node = Setup::local("node").argument("--mode").argument("666").start(scene)?;
    let switch = node.socket().to_owned();
    let directory = scene.path("sockets");
    fs::create_dir(&directory)?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777))?;
    let [hers, name, his, link] = ["alice", "name", "his", "link"].map(|n| directory.join(n));
    let alice = User::Alice.run(|| {
        let client = Client::plug_in_at(&switch, &hers, 0)?;
        fs::set_permissions(&hers, fs::Permissions::from_mode(0o666))?;
        Ok(client)
    })?;
    let call = frame(BROADCAST, STATION_A, 60, 1);
    let over = AtomicBool::new(false);
    let (ask, asked) = std::sync::mpsc::sync_channel::<usize>(0);
    let (tell, told) = std::sync::mpsc::sync_channel::<bool>(0);
    let plugged = std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            User::Bob.run(|| {
                let _his = UnixDatagram::bind(&his)?;
                while !over.load(Ordering::Relaxed) {
                    let _ = fs::hard_link(&his, &link).and_then(|()| fs::rename(&link, &name));
                    std::thread::yield_now();
                    let _ = symlink(&hers, &link).and_then(|()| fs::rename(&link, &name));
                }
                Ok(())
            })
        });
        let over = &over;
        let (switch, name) = (&switch, &name);
        let trier = scope.spawn(move || {
            User::Bob.run(move || {
                let octets = request(&[MAGIC, 3, 0], &address_of(path_octets(name)), b"bob");
                let mut plugged = 0;
                for number in 0..tries() {
                    let mut stream = client::dial(switch)?;
                    stream.set_read_timeout(Some(ANSWER))?;
                    stream.write_all(&octets)?;
                    let mut reply = [0; client::ADDRESS_LEN];
                    if stream.read(&mut reply).is_ok_and(|len| len > 0) {
                        plugged += 1;
                        if number % 16 == 0 {
                            ask.send(number)?;
                            ensure!(told.recv()?, "Alice hears what was for Bob (try {number})");
                        }
                    }
                }
                Ok(plugged)
            })
        });
        // Whoever is on another plug than hers gets what she sends; she does not.
        for _ in asked {
            let silent = alice.send(&call).is_ok() && alice.drain().is_ok_and(|h| h.is_empty());
            if tell.send(silent).is_err() {
                break;
            }
        }
        let tried = trier.join().map_err(|_| anyhow::anyhow!("Bob panicked"))?;
        over.store(true, Ordering::Relaxed);
        swapper.join().map_err(|_| anyhow::anyhow!("the swapper panicked"))??;
        tried
    })?;
    let tries = tries();
    ensure!(plugged > 0 && plugged < tries, "{plugged} of {tries} tries were let in");
    node.process()?.check_running()
}

fn secrets(scene: &Scene) -> Result<()> {
    let mut node = Setup::listening("node", "127.0.0.1:0").argument("-vv").start(scene)?;
    let mut other = Setup::listening("other", "127.0.0.1:0").argument("-vv").start(scene)?;
    lab::node::trust_each_other(&node, &other)?;
    let status = other.status()?;
    node.connect(status["listen"].as_str().context("no address")?)?;
    for command in ["status", "ports", "macs", "nodes", "cables", "events --no-follow"] {
        let words: Vec<_> = command.split(' ').collect();
        node.ask(&words)?;
        node.ask(&[&["--json"], &words[..]].concat())?;
    }
    // RFC 8410: the seed is the last 32 octets, or is followed by the public key.
    let document = fs::read(node.state().join("identity.key"))?;
    let at = document.windows(4).position(|w| w == [0x04, 0x22, 0x04, 0x20]).context("no seed")?;
    let seed = &document[at + 4..at + 36];
    let hex: String = seed.iter().map(|octet| format!("{octet:02x}")).collect();
    let decimal: Vec<_> = seed.iter().map(ToString::to_string).collect();
    let logs = format!("{}{}", node.process()?.log(), other.process()?.log());
    ensure!(logs.len() > 10_000, "the logs are too short to prove anything: {}", logs.len());
    let low = logs.to_lowercase();
    // A third of it in any usual form would be enough to worry.
    for form in [&hex[..20], &decimal[..10].join(", "), &escaped(seed)] {
        ensure!(!low.contains(form), "the key is in a log as {form}");
    }
    Ok(())
}

fn escaped(seed: &[u8]) -> String {
    seed[..8].iter().flat_map(|octet| octet.escape_ascii()).map(char::from).collect()
}

/// A node of Alice's: its memory is not even hers to read.
fn memory(scene: &Scene) -> Result<()> {
    scene.admit_everyone()?;
    let program = scene.path("vdenode");
    fs::copy(built_program("vdenode")?, &program)?;
    let home = scene.path("home");
    fs::create_dir(&home)?;
    std::os::unix::fs::chown(&home, Some(User::Alice.id()), Some(User::Alice.id()))?;
    User::Alice.run(|| {
        let mut node = Command::new(&program)
            .args(["--name", "hers", "--no-listen"])
            .arg("--sock")
            .arg(home.join("vde"))
            .arg("--state")
            .arg(home.join("state"))
            .arg("--control")
            .arg(home.join("ctl"))
            .stderr(std::process::Stdio::null())
            .spawn()?;
        let proc = PathBuf::from(format!("/proc/{}", node.id()));
        let seen = (|| {
            lab::wait_until("her node to answer", ANSWER, || {
                Ok(home.join("ctl").exists() && ask(&home.join("ctl"), "\"id\"").is_ok())
            })?;
            // A client of hers plugs in all the same: who it is does not come from /proc.
            let _client = Client::plug_in_at(&home.join("vde"), &home.join("plug"), 0)?;
            ensure!(fs::read(proc.join("environ")).is_err(), "its environment can be read");
            ensure!(fs::File::open(proc.join("mem")).is_err(), "its memory can be opened");
            Ok(())
        })();
        node.kill()?;
        node.wait()?;
        seen
    })
}
