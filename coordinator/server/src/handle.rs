//! The way from everywhere else to the run loop: bounded, and never waiting without an end.

use crate::run::{Command, Refusal, Started};
use amends_saga::{Input, Saga, SagaId, Start, coordinator::Fingerprint};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// Commands waiting for the run loop, at most; beyond that the coordinator says it is busy.
pub(crate) const COMMANDS_MAX: usize = 65_536;

/// How long a caller waits for the run loop before being told that the store is not available.
const PATIENCE: Duration = Duration::from_secs(15);

/// Sends commands to the run loop; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    commands: mpsc::Sender<Command>,
}

/// The run loop did not answer in time, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoAnswer;

/// Tells of a saga's end.
pub(crate) type End = oneshot::Receiver<Arc<Saga>>;

impl Handle {
    pub(crate) fn new(commands: mpsc::Sender<Command>) -> Handle {
        Handle { commands }
    }

    /// Starts a saga and returns once that is durable.
    pub(crate) async fn start(
        &self,
        start: Start,
        fingerprint: Fingerprint,
        wait: bool,
    ) -> Result<(Started, Option<End>), NoAnswer> {
        let (reply, answer) = oneshot::channel();
        let (sender, end) = listener(wait);
        let start = Box::new(start);
        self.send(Command::Start { start, fingerprint, reply, ended: sender })?;
        Ok((within(answer).await?, end))
    }

    /// The durable state of a saga, if it is live here.
    pub(crate) async fn get(
        &self,
        saga: SagaId,
        wait: bool,
    ) -> Result<(Option<Arc<Saga>>, Option<End>), NoAnswer> {
        let (reply, answer) = oneshot::channel();
        let (sender, end) = listener(wait);
        self.send(Command::Get { saga, reply, ended: sender })?;
        Ok((within(answer).await?, end))
    }

    /// Gives a saga an input and returns once what follows is durable.
    pub(crate) async fn input(&self, saga: SagaId, input: Input) -> Result<Result<(), Refusal>, NoAnswer> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Input { saga, input, reply })?;
        within(answer).await
    }

    /// Turns a completed saga round and returns once that is durable. One that is not held anywhere else, and
    /// is being reverted or has been, is `Ok` only while it is held here: anybody else looks at the saga.
    pub(crate) async fn revert(&self, saga: SagaId, reason: String) -> Result<Result<(), Refusal>, NoAnswer> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Revert { saga, reason, reply })?;
        within(answer).await
    }

    /// Word each time the saga's journal grows; the channel ends with the saga, or at once if it is not live.
    pub(crate) fn follow(&self, saga: SagaId) -> Result<mpsc::Receiver<()>, NoAnswer> {
        let (grown, word) = mpsc::channel(1);
        self.send(Command::Follow { saga, grown })?;
        Ok(word)
    }

    fn send(&self, command: Command) -> Result<(), NoAnswer> {
        self.commands.try_send(command).map_err(|_| NoAnswer)
    }
}

fn listener(wait: bool) -> (Option<oneshot::Sender<Arc<Saga>>>, Option<End>) {
    if !wait {
        return (None, None);
    }
    let (sender, end) = oneshot::channel();
    (Some(sender), Some(end))
}

async fn within<T>(answer: oneshot::Receiver<T>) -> Result<T, NoAnswer> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) | Err(_) => Err(NoAnswer),
    }
}
