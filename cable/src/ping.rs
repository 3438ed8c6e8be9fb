//! `vdecable ping`: echo requests one after the other, and what came of them.

use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use control::message::Failure;
use control::network::{Ping, PingSummary};
use control::transport::{AskError, Client};
use control::{Answer, Request, render};
use serde::Serialize;

use crate::commands::{json, now, show, surprise};

/// Echoes kept for the summary when they go on until interrupted; of more, the oldest are forgotten.
const MAX_KEPT: usize = 100_000;

/// A summary as an object that says what it is, as every answer does.
#[derive(Serialize)]
struct Shown<'a> {
    kind: &'static str,
    #[serde(flatten)]
    summary: &'a PingSummary,
}

/// What is asked, and how often.
#[derive(Debug)]
pub(crate) struct Echoes {
    pub(crate) target: String,
    pub(crate) vlan: Option<u16>,
    pub(crate) size: usize,
    pub(crate) wait: Duration,
    pub(crate) interval: Duration,
    /// 0: until interrupted.
    pub(crate) count: u32,
}

impl Echoes {
    /// Sends them, each after the one before has been answered or given up.
    pub(crate) fn run(&self, client: &mut Client, as_json: bool) -> anyhow::Result<ExitCode> {
        let interrupted = interrupted();
        let mut echoes: Vec<Ping> = Vec::new();
        let mut number = 0;
        loop {
            number += 1;
            let next = now() + self.interval;
            let echo = self.ask(client, echoes.last())?;
            if !as_json {
                show(&render::ping(number, &echo));
            }
            if echoes.len() >= MAX_KEPT {
                echoes.remove(0);
            }
            echoes.push(echo);
            let is_last = u32::try_from(number).is_ok_and(|number| number == self.count);
            let pause = next.saturating_duration_since(now());
            if is_last || interrupted.recv_timeout(pause).is_ok() {
                break;
            }
        }
        let Some(summary) = PingSummary::of(echoes) else { return Err(surprise()) };
        show(&if as_json {
            json(&Shown { kind: "ping", summary: &summary })
        } else {
            render::ping_summary(&summary)
        });
        Ok(if summary.answered > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// One echo. That no way leads there any more is a failure of the first one only; later it is a
    /// loss.
    fn ask(&self, client: &mut Client, before: Option<&Ping>) -> anyhow::Result<Ping> {
        let request = Request::Ping {
            target: self.target.clone(),
            vlan: self.vlan,
            octets: self.size,
            wait_ms: u64::try_from(self.wait.as_millis()).unwrap_or(u64::MAX),
        };
        match (client.ask(&request), before) {
            (Ok(Answer::Ping(echo)), _) => Ok(echo),
            (Ok(_), _) => Err(surprise()),
            (Err(AskError::Refused(Failure { what, why, .. })), Some(before)) => {
                let lost = Some(format!("{what}: {why}"));
                let nothing = (None, None, None);
                let (rtt_ms, cables, cables_back) = nothing;
                Ok(Ping { rtt_ms, cables, cables_back, lost, ..before.clone() })
            }
            (Err(err), _) => Err(err.into()),
        }
    }
}

/// Told when the user interrupts. Without that, the signal ends the program, as ever.
fn interrupted() -> Receiver<()> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let heard = runtime.map(|runtime| runtime.block_on(tokio::signal::ctrl_c()));
        if matches!(heard, Ok(Ok(()))) {
            let _ = tell.send(());
        } else {
            // Nobody will tell, and nobody must take that for an interruption.
            std::thread::park();
        }
    });
    told
}
