//! The control socket: HTTP and JSON on a UNIX socket.
