//! Opening listening sockets: of TCP, of Unix, and those that systemd has opened.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::{fs, net};

use mio::net::{TcpListener, UnixListener};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::ListeningSocket;
use crate::config::{Address, Listener, UnixFile};
use crate::os::InheritedSockets;

/// Opens the listening socket of a listener.
///
/// # Errors
///
/// The address is in use, not of this machine, or not permitted.
pub(crate) fn bind(
    listener: &Listener,
    inherited: &mut InheritedSockets,
) -> io::Result<ListeningSocket> {
    match &listener.address {
        Address::Tcp(address) => Ok(ListeningSocket::Tcp(bind_tcp(*address)?)),
        Address::Unix(path) => {
            let socket = bind_unix(path, &listener.unix)?;
            Ok(ListeningSocket::Unix(socket, Some(path.clone())))
        }
        Address::Inherited(name) => inherit(inherited.take(name)?),
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` must not take the IPv4 port too: that is a listener of its own.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}

fn bind_unix(path: &Path, file: &UnixFile) -> io::Result<UnixListener> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Before it listens: nobody gets in who must not.
    fs::set_permissions(path, fs::Permissions::from_mode(file.mode))?;
    let user = file.owner.as_deref().map(crate::os::user_id).transpose()?;
    let group = file.group.as_deref().map(crate::os::group_id).transpose()?;
    if user.is_some() || group.is_some() {
        chown(path, user, group)?;
    }
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(UnixListener::from_std(socket.into()))
}

/// Removes the file of a broker that is gone. One that somebody listens on is left alone.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
            Ok(_) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
        },
        Ok(_) => Err(io::Error::other("there is a file that is no socket")),
        Err(_) => Ok(()),
    }
}

fn inherit(socket: Socket) -> io::Result<ListeningSocket> {
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    if address.is_unix() {
        // The file is not ours to remove.
        return Ok(ListeningSocket::Unix(UnixListener::from_std(socket.into()), None));
    }
    if address.as_socket().is_none() || socket.r#type()? != Type::STREAM {
        return Err(io::Error::other("it is a socket of another kind"));
    }
    Ok(ListeningSocket::Tcp(TcpListener::from_std(net::TcpListener::from(socket))))
}

/// Connections that the system keeps for us while we are busy: std and mio ask for 128 only, and a
/// storm after an outage is thousands.
const BACKLOG: i32 = 4_096;
