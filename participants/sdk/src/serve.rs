//! Running a participant: its listener, and its registration beside it.

use crate::{Error, Participant, Registrar, Sagas};
use amends_wire::listen;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use amends_wire::listen::Limits;

/// Where to register, and as what address.
#[derive(Debug, Clone, Default)]
pub struct Registering {
    /// The coordinator's base URL.
    pub coordinator: String,
    /// The token it wants.
    pub token: Option<String>,
    /// The base URL at which the coordinator reaches this instance; the listener's address where there is none.
    pub advertise: Option<String>,
}

/// Serves a participant on `listener` until `stop`, registered with a coordinator when one is given, whose open sagas it
/// then takes part in ([`Participant::joins`]). While it serves it checks its own laws now and then
/// ([`Participant::audits`]). When it is told to stop it signs off, so that calls go elsewhere.
///
/// # Errors
/// [`Error::Io`] when the listener has no address, [`Error::Nowhere`] when it listens on every address and does not
/// say under which it is reached, [`Error::Client`] when the HTTP client cannot be made.
pub async fn run(
    participant: &Participant,
    listener: TcpListener,
    registering: Option<Registering>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let address = listener.local_addr()?;
    let (mut participant, mut registered) = (participant.clone(), None);
    if let Some(to) = registering {
        if participant.joined().is_none() {
            participant = participant.joins(&Sagas::at(&to.coordinator, to.token.clone())?);
        }
        let url = match to.advertise {
            Some(url) => url,
            None if address.ip().is_unspecified() => return Err(Error::Nowhere(address)),
            None => format!("http://{address}"),
        };
        let registration = participant.registration(&url);
        let registrar = Registrar::new(&to.coordinator, to.token, participant.name(), registration)?;
        registered = Some(tokio::spawn(registrar.keep(stop.child_token())));
    }
    tokio::select! {
        _ = listen::serve(listener, participant.router(), Limits::default(), stop) => {}
        never = participant.watch() => match never {},
    }
    if let Some(registered) = registered {
        // It ends by itself: it was told to stop with the listener, and signing off is bounded.
        let _ = registered.await;
    }
    if let Some(tracer) = participant.tracer() {
        tracer.stop().await;
    }
    Ok(())
}
