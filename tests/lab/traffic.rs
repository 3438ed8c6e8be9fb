//! Traffic between namespaces: `ping` and `iperf3`, asked for what a trial wants to know.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::netns::Netns;
use crate::process::{Process, both, output};
use crate::suite::Scene;
use crate::wait::wait_until;

/// Echo requests to one address.
#[derive(Clone, Copy, Debug)]
pub struct Ping<'a> {
    /// Whom to ask.
    pub address: &'a str,
    /// How many requests, twenty a second.
    pub count: u32,
    /// Octets after the ICMP header; 1472 makes an IPv4 packet of 1500.
    pub size: u32,
}

/// How many echo requests went out and how many answers came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answers {
    /// Requests sent.
    pub sent: u32,
    /// Answers received.
    pub received: u32,
}

impl<'a> Ping<'a> {
    /// Five small requests.
    #[must_use]
    pub fn to(address: &'a str) -> Self {
        Self { address, count: 5, size: 56 }
    }

    /// The same with another size.
    #[must_use]
    pub fn size(self, size: u32) -> Self {
        Self { size, ..self }
    }

    /// The same with another count.
    #[must_use]
    pub fn count(self, count: u32) -> Self {
        Self { count, ..self }
    }

    /// Sends the requests, forbidding fragments, and counts the answers.
    ///
    /// # Errors
    ///
    /// When `ping` does not report. That no answer came is no error.
    pub fn run(self, from: &Netns) -> Result<Answers> {
        let (count, size) = (self.count.to_string(), self.size.to_string());
        let arguments =
            ["-n", "-c", &count, "-s", &size, "-i", "0.05", "-W", "1", "-M", "do", self.address];
        let output = output(from.command("ping").args(arguments))?;
        let report = both(&output);
        answers(&report).with_context(|| format!("ping gave no report: {report}"))
    }

    /// Sends the requests after one that teaches everybody the way, and wants all answered.
    ///
    /// # Errors
    ///
    /// When an answer is missing.
    pub fn all_answered(self, from: &Netns) -> Result<()> {
        self.wait_answer(from, Duration::from_secs(10))?;
        let answers = self.run(from)?;
        ensure!(
            answers.received == answers.sent,
            "{} of {} echo requests of {} octets to {} were answered",
            answers.received,
            answers.sent,
            self.size,
            self.address
        );
        Ok(())
    }

    /// Waits until a request is answered.
    ///
    /// # Errors
    ///
    /// When none is within `within`.
    pub fn wait_answer(self, from: &Netns, within: Duration) -> Result<()> {
        let what = format!("an answer of {} to {} octets", self.address, self.size);
        wait_until(&what, within, || Ok(self.count(1).run(from)?.received > 0))
    }
}

/// Reads `5 packets transmitted, 4 received, …`.
fn answers(report: &str) -> Option<Answers> {
    let line = report.lines().find(|line| line.contains(" packets transmitted"))?;
    let mut numbers = line.split(", ").map(|part| part.split_whitespace().next()?.parse().ok());
    Some(Answers { sent: numbers.next()??, received: numbers.next()?? })
}

/// One TCP transfer by `iperf3`.
#[derive(Clone, Copy, Debug)]
pub struct Iperf<'a> {
    /// The server's address.
    pub address: &'a str,
    /// How long to send, in seconds.
    pub seconds: u32,
    /// Parallel connections.
    pub streams: u32,
    /// Who sends.
    pub direction: Direction,
}

/// Who sends in a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The client, which is iperf3's default.
    ToServer,
    /// The server (`iperf3 -R`).
    ToClient,
}

/// How long `iperf3` may take beyond the seconds it was asked to send.
const IPERF_GRACE: u32 = 20;

impl<'a> Iperf<'a> {
    /// One stream to the server for one second.
    #[must_use]
    pub fn to(address: &'a str) -> Self {
        Self { address, seconds: 1, streams: 1, direction: Direction::ToServer }
    }

    /// Runs a server and a client and returns what arrived, in Gbit/s of payload.
    ///
    /// # Errors
    ///
    /// When they do not meet or report an error.
    pub fn run(self, scene: &Scene, server: &Netns, client: &Netns) -> Result<f64> {
        let _server = self.start_server(scene, server)?;
        // A transfer that stands still would otherwise never end.
        let limit = (self.seconds + IPERF_GRACE).to_string();
        let mut command = client.command("timeout");
        command.args([&limit, "iperf3", "--json"]).args(self.client_arguments());
        let output = output(&mut command)?;
        let report: Value = serde_json::from_slice(&output.stdout).with_context(|| {
            format!("iperf3 gave no report ({}): {}", output.status, both(&output))
        })?;
        gigabits_per_second(&report)
    }

    /// Starts a transfer that runs while the trial does something else. Whether it survives is
    /// the trial's matter. Dropping the processes ends it.
    ///
    /// # Errors
    ///
    /// When a program cannot be started.
    pub fn start(self, scene: &Scene, server: &Netns, client: &Netns) -> Result<[Process; 2]> {
        let server = self.start_server(scene, server)?;
        let mut command = client.command("iperf3");
        let client = Process::spawn(scene, "iperf3-client", command.args(self.client_arguments()))?;
        Ok([server, client])
    }

    fn start_server(self, scene: &Scene, netns: &Netns) -> Result<Process> {
        let log = scene.log_path("iperf3-server");
        if log.exists() {
            std::fs::remove_file(&log).context("cannot remove the log of an earlier server")?;
        }
        let mut command = netns.command("iperf3");
        command.args(["--server", "--one-off", "--forceflush", "--bind", self.address]);
        let mut server = Process::spawn(scene, "iperf3-server", &mut command)?;
        server.wait_log("Server listening", Duration::from_secs(10))?;
        Ok(server)
    }

    fn client_arguments(self) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["--client", self.address, "--connect-timeout", "5000"].map(str::to_owned).to_vec();
        arguments.extend(["--time".to_owned(), self.seconds.to_string()]);
        arguments.extend(["--parallel".to_owned(), self.streams.to_string()]);
        if self.direction == Direction::ToClient {
            arguments.push("--reverse".to_owned());
        }
        arguments
    }
}

fn gigabits_per_second(report: &Value) -> Result<f64> {
    if let Some(error) = report.get("error") {
        anyhow::bail!("iperf3 reports {error}");
    }
    let bits = report
        .pointer("/end/sum_received/bits_per_second")
        .and_then(Value::as_f64)
        .context("iperf3's report has no rate")?;
    Ok(bits / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sent_and_received_are_read_from_pings_report() {
        let report = "--- 10.0.0.2 ping statistics ---\n\
                      5 packets transmitted, 4 received, 20% packet loss, time 804ms\n";
        assert_eq!(answers(report), Some(Answers { sent: 5, received: 4 }));
        let errors = "3 packets transmitted, 0 received, +3 errors, 100% packet loss\n";
        assert_eq!(answers(errors), Some(Answers { sent: 3, received: 0 }));
        assert_eq!(answers("ping: connect: Network is unreachable\n"), None);
    }

    #[test]
    fn the_rate_of_a_transfer_is_what_arrived() {
        let report = serde_json::json!({"end": {"sum_received": {"bits_per_second": 2.5e9}}});
        assert_eq!(gigabits_per_second(&report).unwrap().to_bits(), 2.5_f64.to_bits());
        assert!(gigabits_per_second(&serde_json::json!({"error": "refused"})).is_err());
    }
}
