//! What a system call can answer instead of success, with the texts that GNU programs print.

use std::fmt;

/// The reason a system call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errno {
    /// ENOENT
    NoEntry,
    /// ENOTDIR
    NotDirectory,
    /// EISDIR
    IsDirectory,
    /// EACCES
    Access,
    /// EPERM
    NotPermitted,
    /// EEXIST
    Exists,
    /// ENOTEMPTY
    NotEmpty,
    /// ELOOP
    Loop,
    /// EINVAL
    Invalid,
    /// EBADF
    BadDescriptor,
    /// EPIPE
    BrokenPipe,
    /// EINTR: the process is being killed
    Interrupted,
    /// ENXIO
    NoDevice,
    /// ENAMETOOLONG
    NameTooLong,
    /// EFBIG
    TooLarge,
    /// EMLINK
    TooManyLinks,
    /// ENOSPC
    NoSpace,
    /// ENOMEM
    NoMemory,
    /// EOPNOTSUPP
    NotSupported,
    /// EBUSY
    Busy,
    /// ECONNREFUSED
    Refused,
    /// EHOSTUNREACH
    HostUnreachable,
    /// ENETUNREACH
    NetworkUnreachable,
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Errno::Refused => "Connection refused",
            Errno::HostUnreachable => "No route to host",
            Errno::NetworkUnreachable => "Network is unreachable",
            Errno::NoEntry => "No such file or directory",
            Errno::NotDirectory => "Not a directory",
            Errno::IsDirectory => "Is a directory",
            Errno::Access => "Permission denied",
            Errno::NotPermitted => "Operation not permitted",
            Errno::Exists => "File exists",
            Errno::NotEmpty => "Directory not empty",
            Errno::Loop => "Too many levels of symbolic links",
            Errno::Invalid => "Invalid argument",
            Errno::BadDescriptor => "Bad file descriptor",
            Errno::BrokenPipe => "Broken pipe",
            Errno::Interrupted => "Interrupted system call",
            Errno::NoDevice => "No such device or address",
            Errno::NameTooLong => "File name too long",
            Errno::TooLarge => "File too large",
            Errno::TooManyLinks => "Too many links",
            Errno::NoSpace => "No space left on device",
            Errno::NoMemory => "Cannot allocate memory",
            Errno::NotSupported => "Operation not supported",
            Errno::Busy => "Device or resource busy",
        })
    }
}

/// The result of a system call.
pub type Sys<T> = Result<T, Errno>;
