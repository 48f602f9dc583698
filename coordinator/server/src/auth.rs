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
    /// Read, start sagas and send signals; begin open sagas, register their branches and decide them.
    Submit,
    /// Cancel and revert sagas and work on the repair queue.
    Operate,
    /// Register definitions and participants.
    Admin,
}

/// A token, kept only as its hash.
#[derive(Debug, Clone)]
struct Token {
    hash: [u8; 32],
    role: Role,
    /// Who holds it, where it is one person's own.
    holder: Option<Arc<str>>,
}

/// Who makes a request, as far as its token says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The person the token belongs to; nobody for a token that several share.
    pub(crate) holder: Option<Arc<str>>,
    /// What the token allows; `None` where no tokens are needed.
    pub(crate) role: Option<Role>,
}

/// Every token. None at all means that everybody who reaches the listener may do everything, which the
/// configuration allows on loopback only.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Arc<Vec<Token>>);

impl Tokens {
    /// Makes the set from `(token, role)` pairs.
    pub fn new<'a>(tokens: impl IntoIterator<Item = (&'a str, Role)>) -> Tokens {
        Tokens::held(tokens.into_iter().map(|(text, role)| (text, role, None)))
    }

    /// Makes the set from `(token, role, holder)`; what a token's holder does about the repair queue is
    /// written down under that name, whatever the request says.
    pub fn held<'a>(tokens: impl IntoIterator<Item = (&'a str, Role, Option<&'a str>)>) -> Tokens {
        let token = |(text, role, holder): (&str, Role, Option<&str>)| Token {
            hash: Sha256::digest(text.as_bytes()).into(),
            role,
            holder: holder.map(Arc::from),
        };
        Tokens(Arc::new(tokens.into_iter().map(token).collect()))
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose a presented token is. Hashes are compared, so the time taken tells nothing of the token.
    fn caller(&self, presented: &str) -> Option<Caller> {
        let hash: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        let found = self.0.iter().filter(|token| token.hash == hash).max_by_key(|token| token.role)?;
        Some(Caller { holder: found.holder.clone(), role: Some(found.role) })
    }
}

impl Role {
    /// The word used in configuration and audits.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Role::Submit => "submit",
            Role::Operate => "operate",
            Role::Admin => "admin",
        }
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
    let parts: Vec<&str> = path.split('/').skip(2).collect();
    match &parts[..] {
        // Whoever answers a call has the token that came with it, and need not be known otherwise.
        ["sagas", _, "steps", _, "answer"] if method == Method::POST => None,
        ["sagas", _, "cancel" | "revert"] => Some(Role::Operate),
        ["sagas", ..] => Some(Role::Submit),
        ["repairs", ..] => Some(Role::Operate),
        _ => Some(Role::Admin),
    }
}

/// Lets a request through when its token allows it, and notes whose token that is.
pub(crate) async fn check(
    State(tokens): State<Tokens>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let caller = match needed(request.method(), request.uri().path()) {
        Some(needed) if !tokens.is_empty() => known(&tokens, &request, needed)?,
        Some(_) | None => Caller::default(),
    };
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

fn known(tokens: &Tokens, request: &Request, needed: Role) -> Result<Caller, Failure> {
    let presented = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let caller = presented.and_then(|token| tokens.caller(token.trim()));
    let Some(caller) = caller else {
        let detail = "send \"Authorization: Bearer TOKEN\" with a valid token";
        return Err(problem(Slug::Unauthorized, detail));
    };
    match caller.role {
        Some(role) if role < needed => Err(problem(
            Slug::Forbidden,
            format!("the token's role is {}, this call needs {}", role.as_str(), needed.as_str()),
        )),
        Some(_) | None => Ok(caller),
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
            ("POST", "/v1/sagas/1/signals/cancel", Some(Role::Submit)),
            ("POST", "/v1/sagas/1/cancel", Some(Role::Operate)),
            ("POST", "/v1/sagas/1/revert", Some(Role::Operate)),
            ("POST", "/v1/sagas/open", Some(Role::Submit)),
            ("POST", "/v1/sagas/1/branches", Some(Role::Submit)),
            ("POST", "/v1/sagas/1/renew", Some(Role::Submit)),
            ("POST", "/v1/sagas/1/commit", Some(Role::Submit)),
            ("POST", "/v1/sagas/1/rollback", Some(Role::Submit)),
            ("POST", "/v1/sagas/1/steps/hold/answer", None),
            ("POST", "/v1/sagas/1/steps/hold%5B0%5D/answer", None),
            ("GET", "/v1/sagas/1/steps/hold/answer", Some(Role::Submit)),
            ("PUT", "/v1/sagas/1/steps/hold/answer", Some(Role::Submit)),
            ("POST", "/v1/sagas/1/steps/answer", Some(Role::Submit)),
            ("GET", "/v1/repairs", Some(Role::Submit)),
            ("GET", "/v1/repairs/bulk/1", Some(Role::Submit)),
            ("POST", "/v1/repairs/1/retry", Some(Role::Operate)),
            ("POST", "/v1/repairs/bulk", Some(Role::Operate)),
            ("POST", "/v1/repairs/bulk/1/stop", Some(Role::Operate)),
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
    fn a_token_has_its_role_and_holder_and_another_text_has_none() {
        let tokens = Tokens::held([("s3cret", Role::Operate, Some("ada")), ("shared", Role::Operate, None)]);
        let caller =
            |holder: Option<&str>| Caller { holder: holder.map(Arc::from), role: Some(Role::Operate) };
        assert_eq!(tokens.caller("s3cret"), Some(caller(Some("ada"))));
        assert_eq!(tokens.caller("shared"), Some(caller(None)));
        assert_eq!(tokens.caller("S3cret"), None);
        assert_eq!(tokens.caller(""), None);
    }
}
