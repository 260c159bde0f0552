//! HTTP as far as the admin endpoints need it.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::within;

/// Asks; status and body.
pub(crate) async fn request(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let mut stream = within(TcpStream::connect(address)).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    within(stream.write_all(head.as_bytes())).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// Gets; status and body.
pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    request(address, "GET", path).await
}

/// The value of one sample: its name with some of its labels, each as `name="value"`. A sample that is not there is 0.
pub(crate) async fn metric(address: SocketAddr, name: &str, labels: &[&str]) -> f64 {
    let (status, page) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    let is_it = |line: &&str| {
        let series = line.split(' ').next().unwrap_or_default();
        series.split('{').next() == Some(name) && labels.iter().all(|label| series.contains(label))
    };
    page.lines().find(is_it).map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}
