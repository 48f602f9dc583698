//! `POST /stock/quote`: `{"lines": [{"sku", "qty"}]}` is answered with what is available of each line, and whether all of it
//! can be had. It reads and promises nothing.

use amends_sdk::Writer;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;

use crate::http::Failure;

/// The address above.
pub(crate) fn router(writer: &Writer) -> Router {
    Router::new().route("/stock/quote", post(quote)).with_state(writer.clone())
}

async fn quote(
    State(writer): State<Writer>,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Json<Value>, Failure> {
    let Json(body) = body.map_err(Failure::of_body)?;
    let cart = super::read(&body).map_err(|misfits| Failure::misfits("the cart", misfits))?;
    let mut reader = writer.database().readers().acquire().await?;
    let quotes = super::quote(&mut reader, &[&cart]).await?;
    Ok(Json(quotes.first().map(super::Quote::body).unwrap_or_default()))
}
