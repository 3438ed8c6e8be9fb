//! What a program prints, kept until a trial takes it: the two halves of a conversation with a
//! console.

use std::fs::File;
use std::io::{Read, Write as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::suite::Scene;

/// A program's output; shared with the thread that reads it.
#[derive(Clone, Debug)]
pub struct Transcript(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    shown: Mutex<Shown>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Shown {
    text: String,
    ended: bool,
}

impl Transcript {
    /// Reads `output` to its end, and copies it to the log of that name.
    ///
    /// # Errors
    ///
    /// When the log cannot be made.
    pub fn record(
        scene: &Scene,
        log: &str,
        mut output: impl Read + Send + 'static,
    ) -> Result<Self> {
        let mut log = File::create(scene.log_path(log)).context("cannot write a console's log")?;
        let transcript = Self(Arc::default());
        let reader = transcript.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = output.read(&mut buffer) {
                // The log is for a person; a full disk must not stop the trial.
                let _ = log.write_all(&buffer[..len]);
                let text = String::from_utf8_lossy(&buffer[..len]).replace('\r', "");
                reader.lock().text.push_str(&text);
                reader.0.changed.notify_all();
            }
            reader.lock().ended = true;
            reader.0.changed.notify_all();
        });
        Ok(transcript)
    }

    /// Waits until `text` has been shown, and takes everything up to its end. Carriage returns are
    /// left out.
    ///
    /// # Errors
    ///
    /// When it is not within `within`, or the program ends.
    pub fn take_until(&self, text: &str, within: Duration) -> Result<String> {
        let (mut shown, _) = self
            .0
            .changed
            .wait_timeout_while(self.lock(), within, |shown| {
                !shown.text.contains(text) && !shown.ended
            })
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(start) = shown.text.find(text) {
            return Ok(shown.text.drain(..start + text.len()).collect());
        }
        let why = if shown.ended { "has ended".to_owned() } else { format!("said in {within:?}") };
        bail!("it {why} without {text:?}; its last words: {:?}", shown.text)
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.0.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
