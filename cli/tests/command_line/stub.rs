//! A coordinator that answers what it is told to, and remembers what it was asked.

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// What was asked: method and path, and the body.
pub(crate) type Asked = (String, Value);

/// The coordinator. Its thread ends with the process.
pub(crate) struct Stub {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    /// Answers each of these: method and path with its query, status, body. Anything else is 404.
    pub(crate) fn new(answers: Vec<(&str, u16, Value)>) -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers: Vec<(String, u16, Value)> =
            answers.into_iter().map(|(of, status, body)| (of.to_owned(), status, body)).collect();
        let remembered = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                answer(stream, &answers, &remembered);
            }
        });
        Stub { url, asked }
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("nobody panicked").clone()
    }
}

fn answer(mut stream: TcpStream, answers: &[(String, u16, Value)], asked: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).expect("a request");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let request = first.trim().trim_end_matches(" HTTP/1.1").to_owned();
    let missing =
        (request.clone(), 404, serde_json::json!({ "title": "not served", "detail": request.clone() }));
    let (_, status, told) = answers.iter().find(|(of, ..)| *of == request).unwrap_or(&missing);
    asked.lock().expect("nobody panicked").push((request, serde_json::from_slice(&body).unwrap_or_default()));
    let told = told.to_string();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", told.len());
    // Whoever asked may be gone.
    let _ = stream.write_all(format!("{head}{told}").as_bytes());
}
