//! Nine of the ten participants, in one process; the tenth is dead and needs none.
//!
//! `p0` to `p7` do nothing and undo everything. `p8` refuses every compensation until it is told to accept: whoever
//! calls its operation `accept` does so.

use crate::exit::Exit;
use amends_sdk::{Call, Operation, Participant, Registering, Reply};
use serde_json::json;
use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// Participants that do what they are asked.
pub(in super::super) const WELL: usize = 8;

/// Serves all nine, each on a free port and registered with the coordinator, until the process is ended. Says where
/// `p8` listens.
pub(in super::super) async fn serve(coordinator: &str) -> anyhow::Result<Exit> {
    let mut all: Vec<Participant> = (0..WELL).map(well).collect();
    all.push(refusing());
    let mut serving = JoinSet::new();
    for participant in all {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        if participant.name() == "p8" {
            println!("listening on http://{}", listener.local_addr()?);
            std::io::stdout().flush()?;
        }
        let registering = Registering { coordinator: coordinator.to_owned(), ..Registering::default() };
        serving.spawn(async move {
            amends_sdk::run(&participant, listener, Some(registering), CancellationToken::new()).await
        });
    }
    while let Some(ended) = serving.join_next().await {
        ended??;
    }
    Ok(Exit::Done)
}

/// One that does nothing; its operation `no` refuses.
fn well(number: usize) -> Participant {
    Participant::new(&format!("p{number}"))
        .plain(Operation::new("a").compensation("undo"), done)
        .plain(Operation::new("no").compensation("undo"), refused)
        .plain(Operation::new("undo"), done)
}

/// The one that refuses to undo until it is told to accept.
fn refusing() -> Participant {
    let accepts = Arc::new(AtomicBool::new(false));
    let told = accepts.clone();
    Participant::new("p8")
        .plain(Operation::new("a").compensation("undo"), done)
        .plain(Operation::new("undo"), move |call| {
            let accepts = accepts.load(Ordering::Relaxed);
            async move { if accepts { done(call).await } else { refused(call).await } }
        })
        .plain(Operation::new("accept"), move |call| {
            told.store(true, Ordering::Relaxed);
            done(call)
        })
}

async fn done(call: Call) -> Reply {
    Reply::done(json!({ "step": call.caller.step }))
}

async fn refused(_: Call) -> Reply {
    Reply::refused("not as long as the bench says so", json!({}))
}
