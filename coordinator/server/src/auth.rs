//! Who may do what: bearer tokens with roles, denied by default once there is any token.

use crate::http::{Failure, problem};
use amends_wire::problem::Slug;
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{Method, header};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// What a token allows. Each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Read, start sagas and send signals.
    Submit,
    /// Cancel sagas and work on the repair queue.
    Operate,
    /// Register definitions and participants.
    Admin,
}

/// A token, kept only as its hash.
#[derive(Debug, Clone)]
struct Token {
    hash: [u8; 32],
    role: Role,
}

/// Every token. None at all means that everybody who reaches the listener may do everything, which the
/// configuration allows on loopback only.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Arc<Vec<Token>>);

impl Tokens {
    /// Makes the set from `(token, role)` pairs.
    pub fn new<'a>(tokens: impl IntoIterator<Item = (&'a str, Role)>) -> Tokens {
        let token = |(text, role): (&str, Role)| Token { hash: Sha256::digest(text.as_bytes()).into(), role };
        Tokens(Arc::new(tokens.into_iter().map(token).collect()))
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The role of a presented token. Hashes are compared, so the time taken tells nothing of the token.
    fn role(&self, presented: &str) -> Option<Role> {
        let hash: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        self.0.iter().filter(|token| token.hash == hash).map(|token| token.role).max()
    }
}

/// The role a request needs, `None` when anybody may make it.
fn needed(method: &Method, path: &str) -> Option<Role> {
    if !path.starts_with("/v1/") && path != "/metrics" {
        return None;
    }
    if method == Method::GET || method == Method::HEAD {
        return Some(Role::Submit);
    }
    let last = path.rsplit('/').next().unwrap_or_default();
    match path.split('/').nth(2) {
        Some("sagas") if matches!(last, "cancel" | "revert") => Some(Role::Operate),
        Some("sagas") => Some(Role::Submit),
        Some("repairs") => Some(Role::Operate),
        _ => Some(Role::Admin),
    }
}

/// Lets a request through when its token allows it.
pub(crate) async fn check(
    State(tokens): State<Tokens>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    if tokens.is_empty() {
        return Ok(next.run(request).await);
    }
    let Some(needed) = needed(request.method(), request.uri().path()) else {
        return Ok(next.run(request).await);
    };
    let presented = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    match presented.and_then(|token| tokens.role(token.trim())) {
        Some(role) if role >= needed => Ok(next.run(request).await),
        Some(role) => Err(problem(
            Slug::Forbidden,
            format!("the token's role is {role:?}, this call needs {needed:?}").to_lowercase(),
        )),
        None => Err(problem(Slug::Unauthorized, "send \"Authorization: Bearer TOKEN\" with a valid token")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_needs_the_role_it_should() {
        let table = [
            ("GET", "/healthz", None),
            ("GET", "/openapi.json", None),
            ("GET", "/problems/key_reused", None),
            ("GET", "/metrics", Some(Role::Submit)),
            ("GET", "/v1/sagas", Some(Role::Submit)),
            ("POST", "/v1/sagas", Some(Role::Submit)),
            ("POST", "/v1/sagas/1/signals/payment", Some(Role::Submit)),
            ("POST", "/v1/sagas/1/cancel", Some(Role::Operate)),
            ("POST", "/v1/repairs/1/retry", Some(Role::Operate)),
            ("PUT", "/v1/definitions/checkout/1", Some(Role::Admin)),
            ("PUT", "/v1/participants/inventory", Some(Role::Admin)),
            ("DELETE", "/v1/participants/inventory/instances/1", Some(Role::Admin)),
            ("POST", "/v1/anything-new", Some(Role::Admin)),
        ];
        for (method, path, expected) in table {
            assert_eq!(needed(&method.parse().unwrap(), path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_token_has_its_role_and_another_text_has_none() {
        let tokens = Tokens::new([("s3cret", Role::Operate)]);
        assert_eq!(tokens.role("s3cret"), Some(Role::Operate));
        assert_eq!(tokens.role("S3cret"), None);
        assert_eq!(tokens.role(""), None);
    }
}
