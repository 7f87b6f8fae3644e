//! A broker that is to be judged or measured: where it is, and how the suite's connections reach it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use quelea_conform::{Dial, Stream, Target, Version, WebSocket};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::connection::password_of;
use crate::failure::Failure;
use crate::way::{Resume, TlsArgs, Way};

/// Which broker, and how to reach it.
#[derive(Clone, Debug, Args)]
pub(crate) struct TargetArgs {
    /// The broker: HOST:PORT, or a URL that begins with mqtt://, mqtts://, ws:// or wss://.
    #[arg(value_name = "HOST:PORT")]
    broker: String,

    /// The user name, if the broker asks for one.
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,

    /// The password, which others on this machine may see: --pw-file hides it.
    #[arg(short = 'P', long, value_name = "PASSWORD", allow_hyphen_values = true)]
    pw: Option<String>,

    /// The file whose first line is the password; - for standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "pw")]
    pw_file: Option<PathBuf>,

    /// Seconds that an answer may take before it counts as missing.
    #[arg(long, value_name = "SECS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,

    /// What topics begin with, for a broker that allows only some.
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    topic: String,

    #[command(flatten)]
    tls: TlsArgs,
}

impl TargetArgs {
    /// Finds the broker, and fails unless somebody listens there.
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        let patience = Duration::from_secs(self.timeout);
        let password = match &self.pw_file {
            Some(file) => Some(password_of(file)?),
            None => self.pw.clone(),
        };
        let way = Way::new(&self.url(), None, &self.tls, Resume::Never)?;
        let address = reach(&way, patience).map_err(|error| {
            Failure::new(format!("cannot connect to {way}: {error}")).with_code(UNREACHABLE)
        })?;
        let below = match &way.tls {
            Some(config) => dial_tls(config, &way.host, address, patience)?,
            None => Dial::tcp(address, patience),
        };
        let mut target = Target::new(address);
        target.patience = patience;
        target.topic_prefix.clone_from(&self.topic);
        target.username.clone_from(&self.username);
        target.password = password.map(String::into_bytes);
        target.dial = Some(match &way.path {
            Some(path) => {
                target.websocket = Some((below.clone(), path.clone()));
                dial_websocket(below, &way, path)
            }
            None => below,
        });
        Ok(target)
    }

    /// Fails unless a client of one of the versions is accepted, and gets what is published on the suite's topics.
    pub(crate) fn check(target: &Target, versions: &[Version]) -> Result<(), Failure> {
        let spoken = versions.iter().find(|it| target.speaks(**it));
        let why = match spoken {
            Some(version) if target.delivers(*version) => return Ok(()),
            Some(_) => "no message comes on a topic that begins with quelea-conform-: if the broker allows only other \
                        topics, --topic says what they begin with"
                .to_owned(),
            None => {
                let refusals = versions.iter().filter_map(|version| {
                    let why = target.refusal(*version)?;
                    Some(format!("no client of MQTT {version} is accepted: {why}"))
                });
                let refusals: Vec<_> = refusals.collect();
                refusals.join("\n")
                    + "\n-u and -P give user name and password; mqtts://… and --cafile speak TLS"
            }
        };
        Err(Failure::new(why).with_code(UNREACHABLE))
    }

    /// Returns the broker as it was named.
    pub(crate) fn name(&self) -> &str {
        &self.broker
    }

    fn url(&self) -> String {
        if self.broker.contains("://") {
            return self.broker.clone();
        }
        let wants_tls = self.tls.cafile.is_some() || self.tls.cert.is_some() || self.tls.insecure;
        let scheme = if wants_tls { "mqtts" } else { "mqtt" };
        // A bare address of IPv6 has colons that are no port's.
        match self.broker.parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("{scheme}://[{address}]"),
            Err(_) => format!("{scheme}://{}", self.broker),
        }
    }
}

/// Returns the first of the host's addresses that accepts a connection.
fn reach(way: &Way, patience: Duration) -> io::Result<SocketAddr> {
    let mut last = io::Error::other("the name has no address");
    for address in (way.host.as_str(), way.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(_) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn dial_tls(
    config: &Arc<ClientConfig>,
    host: &str,
    address: SocketAddr,
    patience: Duration,
) -> Result<Dial, Failure> {
    let name = ServerName::try_from(host.to_owned()).map_err(Failure::usage)?;
    let config = Arc::clone(config);
    Ok(Dial::new(move || {
        let tcp = TcpStream::connect_timeout(&address, patience)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(patience))?;
        tcp.set_write_timeout(Some(patience))?;
        let tls = ClientConnection::new(Arc::clone(&config), name.clone());
        let mut stream = StreamOwned::new(tls.map_err(io::Error::other)?, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Box::new(TlsStream(stream)) as Box<dyn Stream>)
    }))
}

fn dial_websocket(below: Dial, way: &Way, path: &str) -> Dial {
    let (host, path) = (way.to_string(), path.to_owned());
    Dial::new(move || {
        let websocket = WebSocket::open(below.open()?, &host, &path)?;
        Ok(Box::new(websocket) as Box<dyn Stream>)
    })
}

/// TLS over TCP, as the suite's clients use a connection.
#[derive(Debug)]
struct TlsStream(StreamOwned<ClientConnection, TcpStream>);

impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Stream for TlsStream {
    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.0.sock.set_read_timeout(Some(timeout))
    }

    fn end_sending(&mut self) -> io::Result<()> {
        self.0.conn.send_close_notify();
        self.0.flush()?;
        self.0.sock.shutdown(Shutdown::Write)
    }
}

/// Reads a version.
pub(crate) fn version(text: &str) -> Result<Version, String> {
    match text {
        "5" | "5.0" | "mqttv5" => Ok(Version::V5),
        "311" | "3.1.1" | "mqttv311" => Ok(Version::V311),
        "31" | "3.1" | "mqttv31" => Ok(Version::V31),
        _ => Err("the versions are 5.0, 3.1.1 and 3.1".to_owned()),
    }
}

/// The exit code for a broker that does not answer, or accepts no client.
pub(crate) const UNREACHABLE: u8 = 3;
