//! Which URLs are registered and which never are.

use super::*;

fn check(url: &str, ok: bool) {
    assert_eq!(check_url(url).is_ok(), ok, "{url}: {:?}", check_url(url));
}

#[test]
fn ordinary_addresses_are_allowed() {
    for url in [
        "http://127.0.0.1:7101",
        "http://localhost:7101/",
        "https://inventory.internal/api",
        "http://10.0.0.7:80",
        "http://192.168.1.2",
        "http://172.16.0.1",
        "http://[::1]:7101",
        "http://[fd12:3456::1]:80",
        "http://8.8.8.8",
    ] {
        check(url, true);
    }
}

#[test]
fn metadata_link_local_and_disguised_addresses_are_refused() {
    for url in [
        "http://169.254.169.254/latest/meta-data",
        "http://169.254.0.1",
        "http://0.0.0.0:80",
        "http://0.1.2.3",
        "http://[::]:80",
        "http://224.0.0.1",
        "http://255.255.255.255",
        "http://240.0.0.1",
        "http://[fe80::1]",
        "http://[febf::1]",
        "http://[ff02::1]",
        "http://[::ffff:169.254.169.254]",
        "http://[::ffff:a9fe:a9fe]",
        "http://[64:ff9b::a9fe:a9fe]",
        "http://[2002:a9fe:a9fe::1]",
        "http://[::a9fe:a9fe]",
        "http://[fd00:ec2::254]",
        "http://100.100.100.200",
        "http://2852039166",
        "http://0xa9fea9fe",
        "http://0251.0376.0251.0376",
        "http://169.254.43518",
    ] {
        check(url, false);
    }
}

#[test]
fn what_is_not_a_base_url_is_refused() {
    for url in [
        "",
        "inventory",
        "ftp://host",
        "file:///etc/passwd",
        "unix:/tmp/socket",
        "http://",
        "http://user@host",
        "http://user:secret@host",
        "http://host/?a=b",
        "http://host/#part",
        "gopher://host",
    ] {
        check(url, false);
    }
}
