//! A `vdenode` process and what `vdecable` says about it. The field names of the control
//! socket's JSON are known here and nowhere else in the lab.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::machine::Machine;
use crate::netns::Netns;
use crate::process::{Process, Signal, both, built_program, command_at, output};
use crate::suite::Scene;
use crate::wait::wait_until;

/// How long a node may take to start or to end on a busy machine.
const LIFECYCLE: Duration = Duration::from_secs(10);

/// How long a cable may take to come up when nothing is in its way: several attempts.
pub const CABLE_UP: Duration = Duration::from_secs(20);

/// How a node is to be started.
#[derive(Clone, Debug)]
pub struct Setup {
    name: String,
    /// The words before a program that let it run where the node is.
    entrance: Vec<String>,
    arguments: Vec<String>,
}

impl Setup {
    /// A node of that name on the machine itself, that listens for no cable.
    #[must_use]
    pub fn local(name: &str) -> Self {
        Self::at(name, Vec::new()).argument("--no-listen")
    }

    /// A node on the machine itself that listens on this address and port.
    #[must_use]
    pub fn listening(name: &str, address: &str) -> Self {
        Self::at(name, Vec::new()).argument("--listen").argument(address)
    }

    /// A node in a namespace that listens where it does by default.
    #[must_use]
    pub fn inside(name: &str, netns: &Netns) -> Self {
        Self::at(name, netns.entrance())
    }

    /// A node on a machine within this one.
    #[must_use]
    pub fn on(name: &str, machine: &Machine) -> Self {
        Self::at(name, machine.entrance())
    }

    fn at(name: &str, entrance: Vec<String>) -> Self {
        Self { name: name.to_owned(), entrance, arguments: Vec::new() }
    }

    /// Adds a tap of that name.
    #[must_use]
    pub fn tap(self, interface: &str) -> Self {
        self.argument("--tap").argument(interface)
    }

    /// Adds one word to the command line.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts the node and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it ends instead.
    pub fn start(self, scene: &Scene) -> Result<Node> {
        let mut node = Node::new(scene, self);
        node.start(scene)?;
        Ok(node)
    }
}

/// A node; killed when dropped.
#[derive(Debug)]
pub struct Node {
    setup: Setup,
    socket: PathBuf,
    state: PathBuf,
    control: PathBuf,
    process: Option<Process>,
}

impl Node {
    fn new(scene: &Scene, setup: Setup) -> Self {
        let path = |suffix: &str| scene.path(&format!("{}.{suffix}", setup.name));
        let (socket, state, control) = (path("sock"), path("state"), path("ctl"));
        Self { setup, socket, state, control, process: None }
    }

    /// Starts the program, again after it has ended, with the same directories, and waits until
    /// it answers.
    ///
    /// # Errors
    ///
    /// When it ends instead.
    pub fn start(&mut self, scene: &Scene) -> Result<()> {
        let mut command = self.program("vdenode")?;
        command.args(["--name", &self.setup.name]);
        command.arg("--sock").arg(&self.socket).arg("--state").arg(&self.state);
        command.arg("--control").arg(&self.control).args(&self.setup.arguments);
        self.process = Some(Process::spawn(scene, &self.setup.name, &mut command)?);
        let what = format!("node {} to answer", self.setup.name);
        wait_until(&what, LIFECYCLE, || {
            self.process()?.check_running()?;
            // Somebody who listens may not be ready; somebody who answers is.
            Ok(UnixStream::connect(&self.control).is_ok()
                && self.vdecable(&["status"])?.status.success()
                && self.has_its_role()?)
        })
    }

    /// Whether a node that was told to be the gateway knows whether it is. It answers before that.
    fn has_its_role(&self) -> Result<bool> {
        if !self.setup.arguments.iter().any(|word| word == "--gateway") {
            return Ok(true);
        }
        // This waits for it.
        let leases = self.vdecable(&["leases"])?;
        Ok(leases.status.success() || both(&leases).contains("is not the gateway"))
    }

    fn program(&self, name: &str) -> Result<std::process::Command> {
        Ok(command_at(&self.setup.entrance, built_program(name)?))
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.setup.name
    }

    /// The directory that VDE clients plug into.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The control socket.
    #[must_use]
    pub fn control(&self) -> &Path {
        &self.control
    }

    /// The directory of its key and its memory.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The running program.
    ///
    /// # Errors
    ///
    /// When it was ended by the trial.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().with_context(|| format!("node {} was ended", self.setup.name))
    }

    /// SIGTERM; returns its exit status.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        let status = self.process()?.terminate(LIFECYCLE)?;
        self.process = None;
        Ok(status)
    }

    /// `kill -9`.
    ///
    /// # Errors
    ///
    /// When it had ended before.
    pub fn kill(&mut self) -> Result<()> {
        self.process()?.kill()?;
        self.process = None;
        Ok(())
    }

    /// Sends it a signal, such as STOP or CONT.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.process()?.signal(signal)
    }

    /// Runs `vdecable` against this node, whatever it returns.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn vdecable(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.program("vdecable")?;
        command.arg("--control").arg(&self.control).args(arguments);
        output(&mut command)
    }

    /// Runs `vdecable` against this node and returns what it prints.
    ///
    /// # Errors
    ///
    /// When it fails.
    pub fn ask(&self, arguments: &[&str]) -> Result<String> {
        let output = self.vdecable(arguments)?;
        ensure!(
            output.status.success(),
            "vdecable {arguments:?} at node {} failed ({}): {}",
            self.setup.name,
            output.status,
            both(&output)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn ask_json(&self, what: &str) -> Result<Value> {
        self.json(&[what])
    }

    /// Runs `vdecable --json` against this node and returns what it prints.
    ///
    /// # Errors
    ///
    /// When it fails, or prints no JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.ask(&[&["--json"], arguments].concat())?;
        serde_json::from_str(&text)
            .with_context(|| format!("vdecable {arguments:?} gave no JSON: {text}"))
    }

    /// The nodes of `vdecable nodes`.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub fn nodes(&self) -> Result<Vec<Value>> {
        list(&self.ask_json("nodes")?, "nodes")
    }

    /// The names of the nodes on the way to a node or a station, this one first; of a station in
    /// several VLANs, the first.
    ///
    /// # Errors
    ///
    /// When there is no way.
    pub fn way(&self, target: &str) -> Result<Vec<String>> {
        let traces = list(&self.json(&["trace", target])?, "traces")?;
        let hops = traces.first().map(|trace| list(trace, "hops")).transpose()?;
        let hops = hops.with_context(|| format!("no way to {target} in {traces:?}"))?;
        Ok(hops.iter().map(|hop| hop["node"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// The sentences of `vdecable events` so far, oldest first.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub fn told(&self) -> Result<String> {
        self.ask(&["events", "--last", "100", "--no-follow"])
    }

    /// Its public key.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub fn id(&self) -> Result<String> {
        Ok(self.ask(&["id"])?.trim().to_owned())
    }

    /// Trusts another node's key under that node's name.
    ///
    /// # Errors
    ///
    /// When either node does not answer.
    pub fn trust(&self, other: &Self) -> Result<()> {
        self.ask(&["trust", &other.id()?, "--name", other.name()]).map(drop)
    }

    /// Asks for a cable to an address, or an address and a port.
    ///
    /// # Errors
    ///
    /// When the node refuses or the cable is not up by the time that `vdecable` gives it.
    pub fn connect(&self, to: &str) -> Result<()> {
        self.ask(&["connect", to]).map(drop)
    }

    /// Asks for a cable that cannot come up yet, and returns what is said about it. The node
    /// keeps trying.
    ///
    /// # Errors
    ///
    /// When the exit code is not that of a failure, or the node does not list the cable.
    pub fn connect_in_vain(&self, to: &str) -> Result<String> {
        let output = self.vdecable(&["connect", to])?;
        let words = both(&output);
        ensure!(
            output.status.code() == Some(1),
            "vdecable connect to nobody ended with {}: {words}",
            output.status
        );
        ensure!(!self.cables()?.is_empty(), "the node does not list the cable to {to}");
        Ok(words)
    }

    /// `vdecable status` as JSON.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub fn status(&self) -> Result<Value> {
        self.ask_json("status")
    }

    /// The bridge ports of `vdecable ports`.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub fn ports(&self) -> Result<Vec<Value>> {
        list(&self.ask_json("ports")?, "ports")
    }

    /// The stations of `vdecable macs`.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub fn macs(&self) -> Result<Vec<Value>> {
        list(&self.ask_json("macs")?, "macs")
    }

    /// The wires of `vdecable wire`.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub fn wires(&self) -> Result<Vec<Value>> {
        list(&self.ask_json("wire")?, "wires")
    }

    /// The addresses of `vdecable leases`.
    ///
    /// # Errors
    ///
    /// When the node does not answer or is no gateway.
    pub fn leases(&self) -> Result<Vec<Value>> {
        list(&self.ask_json("leases")?, "leases")
    }

    /// The cables of `vdecable status`.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub fn cables(&self) -> Result<Vec<Value>> {
        list(&self.status()?, "cables")
    }

    /// How many cables are up.
    ///
    /// # Errors
    ///
    /// When the node does not answer.
    pub fn cables_up(&self) -> Result<usize> {
        Ok(self.cables()?.iter().filter(|cable| cable["state"] == "up").count())
    }

    /// Waits until a cable is up.
    ///
    /// # Errors
    ///
    /// When none is within `within`; the last status is in the error.
    pub fn wait_cable_up(&self, within: Duration) -> Result<()> {
        let what = format!("a cable of node {} to be up", self.setup.name);
        wait_until(&what, within, || Ok(self.cables_up()? > 0))
            .with_context(|| format!("its status is {}", self.status_text()))
    }

    /// Waits until the status lists a key among those that were refused, by this node (`us`) or
    /// by its peer (`peer`).
    ///
    /// # Errors
    ///
    /// When it does not within `within`; the last status is in the error.
    pub fn wait_refused(&self, key: &str, by: &str, within: Duration) -> Result<()> {
        let what = format!("node {} to show {key} as refused by {by}", self.setup.name);
        wait_until(&what, within, || {
            let refused = list(&self.status()?, "refused")?;
            Ok(refused.iter().any(|entry| entry["key"] == key && entry["by"] == by))
        })
        .with_context(|| format!("its status is {}", self.status_text()))
    }

    fn status_text(&self) -> String {
        self.status().map_or_else(|error| format!("not to be had: {error:#}"), |s| s.to_string())
    }
}

/// The list under a name of a JSON object.
fn list(object: &Value, name: &str) -> Result<Vec<Value>> {
    let list = object.get(name).and_then(Value::as_array);
    list.cloned().with_context(|| format!("no list of {name} in {object}"))
}

/// Makes two nodes trust each other.
///
/// # Errors
///
/// When either does not answer.
pub fn trust_each_other(a: &Node, b: &Node) -> Result<()> {
    a.trust(b)?;
    b.trust(a)
}
