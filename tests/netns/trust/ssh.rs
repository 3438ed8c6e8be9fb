//! A host joins because somebody who may log in there says so from here; sshd is Debian's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::process::{Process, built_program};
use lab::wait::wait_until;
use lab::{Netns, Node, Scene};

use super::{Hosts, failing, is_member, json, outer};

/// An ssh server in a namespace, with keys of its own for both ends.
struct Sshd {
    _process: Process,
    directory: PathBuf,
}

impl Sshd {
    fn start(scene: &Scene, netns: &Netns) -> Result<Self> {
        let directory = scene.path("ssh");
        std::fs::create_dir(&directory)?;
        // sshd insists on an empty directory for the part of it that has no privileges.
        std::fs::create_dir_all("/run/sshd")?;
        let file = |name: &str| directory.join(name).display().to_string();
        for key in ["host", "user"] {
            let arguments = ["-q", "-t", "ed25519", "-N", "", "-f", &file(key)];
            netns.exec("ssh-keygen", &arguments)?;
        }
        std::fs::copy(file("user.pub"), file("authorized"))?;
        let config = format!(
            "Port 22\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\n",
            file("host"),
            file("authorized")
        );
        std::fs::write(directory.join("config"), config)?;
        let mut command = netns.command("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f", &file("config")]);
        let process = Process::spawn(scene, "sshd", &mut command)?;
        wait_until("sshd to listen", Duration::from_secs(10), || {
            Ok(netns.exec("ss", &["-ltn"])?.contains(":22 "))
        })?;
        Ok(Self { _process: process, directory })
    }

    /// How ssh is called here: with these keys alone, whatever the machine's own are.
    fn command(&self) -> String {
        let user = self.directory.join("user").display().to_string();
        format!(
            "ssh -F none -i {user} -o IdentitiesOnly=yes -o BatchMode=yes \
             -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR"
        )
    }
}

fn remote(program: &Path, node: &Node) -> String {
    format!("{} --control {}", program.display(), node.control().display())
}

pub(super) fn trial(scene: &Scene) -> Result<()> {
    let mut hosts = Hosts::start(scene, &["a", "b"])?;
    let sshd = Sshd::start(scene, &hosts.netns[1])?;
    let (ssh, login) = (sshd.command(), format!("root@{}", outer(1)));
    let program = built_program("vdecable")?;
    let there = remote(&program, &hosts.nodes[1]);
    let open = |node: &Node| -> Result<usize> {
        let invites = json(node, &["invites"])?;
        let invites = invites["invites"].as_array().cloned().unwrap_or_default();
        Ok(invites.iter().filter(|invite| invite["state"] == "open").count())
    };
    let with = |remote: &str| {
        ["connect", &login, "--ssh", &ssh, "--remote", remote].map(str::to_owned).to_vec()
    };
    let refused = |remote: &str, reason: &str| -> Result<()> {
        let arguments = with(remote);
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let said = failing(&hosts.nodes[0], &words)?;
        ensure!(said.contains(reason), "{remote}: {said}");
        ensure!(open(&hosts.nodes[0])? == 0, "an invitation is left behind: {said}");
        Ok(())
    };
    // What is not there is named, and nothing stays behind.
    refused("no-such-vdecable", "there is no no-such-vdecable on")?;
    refused(&format!("{} --control /nowhere", program.display()), "no node runs on")?;
    let nobody = ["connect", "root@10.77.0.99", "--ssh", "ssh -o ConnectTimeout=1"];
    let said = failing(&hosts.nodes[0], &nobody)?;
    ensure!(said.contains("ssh root@10.77.0.99 fails"), "{said}");
    // It can log in, but the node there cannot reach the one here: the invitation is taken back.
    hosts.netns[1].nft(
        "table inet vdelab_udp {\n chain out {\n type filter hook output priority 0;\n \
         udp dport 7667 drop;\n }\n}\n",
    )?;
    refused(&there, "no answer from 10.77.0.1:7667")?;
    hosts.netns[1].nft("delete table inet vdelab_udp\n")?;

    let arguments = with(&there);
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    hosts.nodes[0].ask(&words)?;
    ensure!(is_member(&hosts.nodes[0], "b")?, "b is no member");
    hosts.reaches(0, 1)?;
    // Once more does no harm; and the cable outlives both nodes' programs.
    hosts.nodes[0].ask(&words)?;
    hosts.nodes[1].terminate()?;
    let gone = with(&there);
    let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
    let said = failing(&hosts.nodes[0], &gone)?;
    ensure!(said.contains("no node runs on"), "{said}");
    hosts.nodes[1].start(scene)?;
    hosts.nodes[1].wait_cable_up(lab::node::CABLE_UP)
}
