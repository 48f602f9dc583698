//! Following a saga's journal as it grows, over server-sent events.

mod events;

use crate::{
    Client, Error,
    transport::{Call, root_cause},
};
use amends_wire::{SagaId, api::JournalItem};
use futures::{Stream, StreamExt};
use std::{sync::Arc, time::Duration};

/// How long a stream may be silent; a coordinator sends a sign of life every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// How long the stream may take to open.
const OPEN_MAX: Duration = Duration::from_secs(10);

/// Reconnections in a row that bring nothing before the last error is handed over.
const VAIN_MAX: u32 = 10;

/// The longest wait between two of them.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The kinds of event after which a saga has ended.
const ENDS: [&str; 3] = ["completed", "compensated", "abandoned"];

/// How one connection ended.
enum Cut {
    /// The coordinator closed it in order.
    Closed,
    /// It broke, or fell silent.
    Broken(Error),
}

impl Client {
    /// Follows a saga's journal from after `seq` on (0 for all of it) to the saga's end, each event once and in
    /// order.
    ///
    /// A connection that breaks is made anew, with the next coordinator if need be, from the last event on; ten
    /// failures in a row without any event end the stream with the last of them. A saga that was completed and is
    /// reverted later ends the stream twice: follow it again from the last `seq`.
    pub fn follow(
        &self,
        id: SagaId,
        seq: u64,
    ) -> impl Stream<Item = Result<JournalItem, Error>> + Send + use<> {
        let transport = Arc::clone(&self.transport);
        async_stream::stream! {
            let (mut seq, mut vain, mut ended) = (seq, 0_u32, false);
            loop {
                let query = [("follow", "true".to_owned()), ("cursor", seq.to_string())];
                let call = Call::get(format!("/v1/sagas/{id}/journal")).query(&query);
                let cut = match transport.open(&call, OPEN_MAX).await {
                    Err(error) if !error.is_transient() => { yield Err(error); return }
                    Err(error) => Cut::Broken(error),
                    Ok((at, response)) => {
                        let mut lines = events::Lines::default();
                        let mut bytes = response.bytes_stream();
                        loop {
                            let chunk = match tokio::time::timeout(SILENCE_MAX, bytes.next()).await {
                                Err(_) => break Cut::Broken(silent(&at)),
                                Ok(None) => break Cut::Closed,
                                Ok(Some(Err(error))) => {
                                    break Cut::Broken(Error::Unanswered { at, why: root_cause(&error) });
                                }
                                Ok(Some(Ok(chunk))) => chunk,
                            };
                            for data in lines.push(&chunk) {
                                let Some(item) = read(&data, seq) else { continue };
                                (seq, vain) = (item.seq, 0);
                                ended = ENDS.contains(&item.kind.as_str());
                                yield Ok(item);
                            }
                        }
                    }
                };
                if ended { return }
                vain += 1;
                if vain >= VAIN_MAX {
                    yield Err(match cut {
                        Cut::Broken(error) => error,
                        Cut::Closed => silent(&format!("/v1/sagas/{id}/journal")),
                    });
                    return;
                }
                tokio::time::sleep(pause(vain)).await;
            }
        }
    }
}

/// The item of one event, if it is the next one.
fn read(data: &str, seq: u64) -> Option<JournalItem> {
    serde_json::from_str(data).ok().filter(|item: &JournalItem| item.seq > seq)
}

fn silent(at: &str) -> Error {
    Error::Unanswered { at: at.to_owned(), why: "the journal's stream fell silent".to_owned() }
}

fn pause(vain: u32) -> Duration {
    Duration::from_millis(100).saturating_mul(1 << vain.min(10)).min(WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_longest() {
        let pauses: Vec<u128> = (1..=8).map(|vain| pause(vain).as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    }
}
