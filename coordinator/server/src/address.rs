//! Which addresses the coordinator opens a socket to.
//!
//! Participants live in private networks, so loopback and private ranges are allowed; what no
//! participant can ever be is refused: unspecified, multicast, link-local and cloud metadata addresses.
//! The rule is applied twice: to a registration's URL, and to every address a name resolves to at the
//! moment of connecting, so that a name cannot be pointed elsewhere later.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Metadata services that do not live in a link-local range.
const METADATA: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
];

/// Says why an address is never called, `None` when it may be.
pub(crate) fn refusal(address: IpAddr) -> Option<&'static str> {
    let address = match address {
        IpAddr::V6(v6) => embedded_v4(v6).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    };
    if METADATA.contains(&address) {
        return Some("it is a cloud metadata address");
    }
    match address {
        IpAddr::V4(v4) if v4.is_unspecified() || v4.octets()[0] == 0 => Some("it is unspecified"),
        IpAddr::V4(v4) if v4.is_link_local() => Some("it is link-local"),
        IpAddr::V4(v4) if v4.is_multicast() || v4.is_broadcast() || v4.octets()[0] >= 240 => {
            Some("it is a multicast, broadcast or reserved address")
        }
        IpAddr::V6(v6) if v6.is_unspecified() => Some("it is unspecified"),
        IpAddr::V6(v6) if v6.is_multicast() => Some("it is multicast"),
        IpAddr::V6(v6) if (v6.segments()[0] & 0xffc0) == 0xfe80 => Some("it is link-local"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// The IPv4 address inside a mapped, compatible, NAT64 or 6to4 address.
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = v6.segments();
    let tail = || Ipv4Addr::from((u32::from(s[6]) << 16) | u32::from(s[7]));
    match s {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(tail()),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 || low > 1 => Some(tail()),
        [0x2002, high, low, ..] => Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        _ => None,
    }
}

/// Checks a participant's base URL and returns it without its trailing slash.
///
/// # Errors
/// A sentence that says what is wrong and what would be right.
pub(crate) fn check_url(text: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(text).map_err(|e| format!("\"{text}\" is not a URL ({e})"))?;
    check_scheme_and_user(&url, text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("\"{text}\" must not carry a query or a fragment"));
    }
    check_host(&url, text)?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Checks an address that messages are sent to as it stands; it may carry a query, and secrets in it or its path, which
/// is why messages name its origin only.
///
/// # Errors
/// As [`check_url`].
pub(crate) fn check_target(text: &str) -> Result<reqwest::Url, String> {
    let url = reqwest::Url::parse(text).map_err(|e| format!("is not a URL ({e})"))?;
    let shown = url.origin().ascii_serialization();
    check_scheme_and_user(&url, &shown)?;
    check_host(&url, &shown)?;
    Ok(url)
}

fn check_scheme_and_user(url: &reqwest::Url, shown: &str) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("\"{shown}\" must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL must not carry user information; use \"secret\"".to_owned());
    }
    Ok(())
}

fn check_host(url: &reqwest::Url, shown: &str) -> Result<(), String> {
    let host = url.host_str().ok_or_else(|| format!("\"{shown}\" has no host"))?;
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    match literal.and_then(refusal) {
        Some(why) => Err(format!("\"{shown}\" is never called: {why}")),
        None => Ok(()),
    }
}

/// Resolves names as the system does and drops the addresses that are never called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|a| refusal(a.ip()).is_none()).collect();
            if allowed.is_empty() {
                return Err(format!("{} resolves to no address that may be called", name.as_str()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
