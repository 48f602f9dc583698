//! The participant that does nothing: what is measured against it is the coordinator.

use crate::exit::Exit;
use amends_sdk::{Call, Operation, Participant, Registering, Reply};
use serde_json::json;
use std::io::Write;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves it on a free port, registered with the coordinator, until the process is ended.
pub(super) async fn serve(coordinator: &str) -> anyhow::Result<Exit> {
    let plain = |name: &str| Operation::new(name).compensation("undo");
    let participant = Participant::new("noop")
        .plain(plain("a"), nothing)
        .plain(plain("b"), nothing)
        .plain(plain("c"), nothing)
        .plain(plain("a2").batch(256), nothing)
        .plain(plain("b2").batch(256), nothing)
        .plain(plain("c2").batch(256), nothing)
        .plain(Operation::new("undo"), nothing);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let registering = Registering { coordinator: coordinator.to_owned(), ..Registering::default() };
    amends_sdk::run(&participant, listener, Some(registering), CancellationToken::new()).await?;
    Ok(Exit::Done)
}

/// The third step refuses when the cart says so; everything else is done at once.
async fn nothing(call: Call) -> Reply {
    if call.operation == "c" && call.body.get("refuse") == Some(&json!(true)) {
        return Reply::refused("the cart asked for it", json!({}));
    }
    Reply::done(json!({ "step": call.caller.step, "ok": true }))
}
