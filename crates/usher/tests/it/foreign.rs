//! A foreign NATS client: the text protocol over TCP, nothing of ours and nothing of the library that the bus uses.

use anyhow::Context as _;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// An upstream or downstream system's connection.
pub(crate) struct Foreign {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

impl Foreign {
    /// Connects to `nats://host:port`.
    pub(crate) async fn connect(url: &str) -> anyhow::Result<Self> {
        let address = url.strip_prefix("nats://").unwrap_or(url);
        let (read, write) = TcpStream::connect(address).await.context("nats")?.into_split();
        let mut client = Self { read: BufReader::new(read), write };
        let info = client.line().await?;
        anyhow::ensure!(info.starts_with("INFO "), "no NATS server: {info}");
        client
            .write
            .write_all(b"CONNECT {\"verbose\":false,\"headers\":true,\"lang\":\"story\"}\r\n")
            .await?;
        Ok(client)
    }

    /// Subscribes, and waits until the server knows.
    pub(crate) async fn subscribe(&mut self, subject: &str) -> anyhow::Result<()> {
        self.write.write_all(format!("SUB {subject} 1\r\nPING\r\n").as_bytes()).await?;
        loop {
            if self.line().await? == "PONG" {
                return Ok(());
            }
        }
    }

    /// Publishes a command with a message id; the stream that takes it answers to nobody.
    pub(crate) async fn publish(&mut self, subject: &str, id: &str, body: &Value) -> anyhow::Result<()> {
        let headers = format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\n\r\n");
        let payload = body.to_string();
        let (head, total) = (headers.len(), headers.len() + payload.len());
        let message = format!("HPUB {subject} {head} {total}\r\n{headers}{payload}\r\n");
        self.write.write_all(message.as_bytes()).await?;
        Ok(())
    }

    /// Waits until the server has taken everything that was published.
    pub(crate) async fn flush(&mut self) -> anyhow::Result<()> {
        self.write.write_all(b"PING\r\n").await?;
        loop {
            if self.line().await? == "PONG" {
                return Ok(());
            }
        }
    }

    /// Asks the server something; its answer.
    pub(crate) async fn request(&mut self, subject: &str) -> anyhow::Result<Value> {
        let inbox = format!("_INBOX.{subject}");
        self.subscribe(&inbox).await?;
        self.write.write_all(format!("PUB {subject} {inbox} 0\r\n\r\n").as_bytes()).await?;
        Ok(self.next().await?.2)
    }

    /// The next message: subject, headers as text, body.
    pub(crate) async fn next(&mut self) -> anyhow::Result<(String, String, Value)> {
        loop {
            let line = self.line().await?;
            let mut words = line.split_whitespace();
            let (kind, subject) =
                (words.next().unwrap_or_default(), words.next().unwrap_or_default().to_owned());
            let sizes: Vec<usize> =
                line.split_whitespace().rev().map_while(|word| word.parse().ok()).collect();
            match (kind, sizes.as_slice()) {
                ("HMSG", [total, head, ..]) => {
                    let bytes = self.body(*total).await?;
                    let headers = String::from_utf8_lossy(&bytes[..*head]).into_owned();
                    return Ok((subject, headers, serde_json::from_slice(&bytes[*head..])?));
                }
                ("MSG", [total, ..]) => {
                    let bytes = self.body(*total).await?;
                    return Ok((subject, String::new(), serde_json::from_slice(&bytes)?));
                }
                ("PING", _) => self.write.write_all(b"PONG\r\n").await?,
                _ => {}
            }
        }
    }

    async fn body(&mut self, size: usize) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; size + 2];
        self.read.read_exact(&mut bytes).await?;
        bytes.truncate(size);
        Ok(bytes)
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        anyhow::ensure!(self.read.read_line(&mut line).await? > 0, "the NATS server hung up");
        Ok(line.trim_end().to_owned())
    }
}
